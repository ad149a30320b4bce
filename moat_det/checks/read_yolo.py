"""YOLO labels, line by line: what one of them has wrong does not hide the others."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from moat_det.checks.faults import Fault
from moat_det.checks.samples import Row, Sample
from moat_det.data.formats.yolo import YoloSource, label_places, parse_row, read_lines
from moat_det.errors import UserError

# Where more images than this share of a split have no label file, that is how it marks good parts.
_FORGOTTEN_SHARE = 0.1


def collect_yolo(source: YoloSource, split: str, num_classes: int, faults: list[Fault]) -> list[Sample]:
    """Read the labels of all images; faults are appended."""
    samples = []
    for image in source.images:
        if not os.path.isfile(image):
            faults.append(Fault("image_missing", split, image, "named by a list of images, or a link to nothing"))
            continue
        labels = next((place for place in label_places(image) if os.path.isfile(place)), None)
        sample = Sample(split, image, labels, in_shares=True)
        if labels is not None:
            faults += _read(sample, labels, num_classes)
        samples.append(sample)
    faults += _without_label(samples)
    faults += _shared(samples)
    return samples


def _read(sample: Sample, file: str, num_classes: int) -> Iterator[Fault]:
    try:
        lines, content = read_lines(file), Path(file).read_bytes()
    except (UserError, OSError) as error:
        sample.lost += 1
        yield Fault("unreadable_labels", sample.split, file, str(error).removeprefix(f"{file}: "), sample.image)
        return
    if b"\r\n" in content:
        yield Fault("crlf", sample.split, file)
    if not content.strip():
        yield Fault("empty_label", sample.split, file, image=sample.image)
    for number, line in enumerate(lines, 1):
        if not (columns := line.split()):
            continue
        where = f"line {number}"
        try:
            cls, *shares = parse_row(columns, where, None)
        except UserError as error:
            sample.lost += 1
            yield Fault("malformed_label", sample.split, file, str(error), sample.image)
            continue
        if cls >= num_classes:
            sample.lost += 1
            detail = f"{where}: class {int(cls)}, but the names end at {num_classes - 1}"
            yield Fault("unknown_class", sample.split, file, detail, sample.image)
            continue
        if len(columns) > 5:
            yield Fault("polygon", sample.split, file, where, sample.image)
        sample.rows.append(Row(int(cls), tuple(shares), where))


def _without_label(samples: Sequence[Sample]) -> list[Fault]:
    missing = [sample for sample in samples if sample.labels is None]
    if len(missing) > _FORGOTTEN_SHARE * len(samples) and len(missing) > 1:
        return []
    return [Fault("image_without_label", s.split, s.image, f"no {label_places(s.image)[0]}", s.image) for s in missing]


def _shared(samples: Sequence[Sample]) -> Iterator[Fault]:
    owners: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.labels is not None:
            owners[sample.labels].append(sample)
    for file, sharing in owners.items():
        for sample in sharing[1:]:
            yield Fault("shared_label_file", sample.split, sample.image, f"{file} is that of {sharing[0].image} too")
