"""What is unusual about the files of labels, beside what training refuses: those that are missing, shared or empty."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from moat_det.checks.faults import Fault
from moat_det.checks.samples import Sample
from moat_det.data.formats.yolo_files import label_places
from moat_det.files import check_is_file

# Where more images than this share of a split have no label file, that is how it marks good parts.
_FORGOTTEN_SHARE = 0.1


def label_file_faults(samples: Sequence[Sample], source_format: str) -> Iterator[Fault]:
    """Tell what is unusual about the label files of one source.

    Args:
        samples: All of the source.
        source_format: Its format; a COCO JSON lists images of its own, so that none lacks a file.
    """
    if source_format == "yolo":
        for sample in samples:
            yield from _content(sample)
        yield from _shared(samples)
    if source_format != "coco":
        yield from _without_label(samples, source_format)


def _content(sample: Sample) -> Iterator[Fault]:
    file = sample.labels
    if file is None:
        return
    with suppress(OSError):  # which the reader has told
        check_is_file(file)
        content = Path(file).read_bytes()
        if b"\r\n" in content:
            yield Fault("crlf", sample.split, file)
        if not content.strip():
            yield Fault("empty_label", sample.split, file, image=sample.image)
    for row in sample.annotation.rows:
        if row.polygon:
            yield Fault("polygon", sample.split, file, row.place, sample.image)


def _without_label(samples: Sequence[Sample], source_format: str) -> Iterator[Fault]:
    missing = [sample for sample in samples if sample.labels is None and not sample.annotation.lost]
    if len(missing) > _FORGOTTEN_SHARE * len(samples) and len(missing) > 1:
        return
    for sample in missing:
        detail = "no XML file names it" if source_format == "voc" else f"no {label_places(sample.image)[0]}"
        yield Fault("image_without_label", sample.split, sample.image, detail, sample.image)


def _shared(samples: Sequence[Sample]) -> Iterator[Fault]:
    owners: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.labels is not None:
            owners[sample.labels].append(sample)
    for file, sharing in owners.items():
        for sample in sharing[1:]:
            yield Fault("shared_label_file", sample.split, sample.image, f"{file} is that of {sharing[0].image} too")
