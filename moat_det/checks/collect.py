"""All samples of a dataset, with the faults of its annotation files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from moat_det.checks.faults import Fault
from moat_det.checks.label_files import label_file_faults
from moat_det.checks.samples import Sample
from moat_det.checks.stray import images_not_listed, stray_labels, unused_files
from moat_det.data.config import SPLITS, DatasetConfig, reading, split_paths
from moat_det.data.formats.faults import AnnotationError
from moat_det.data.formats.records import Record, Source
from moat_det.data.formats.sources import find_sources
from moat_det.data.formats.voc import VocSource
from moat_det.errors import UserError
from moat_det.progress import progress


@dataclass
class Collection:
    """What the annotations of a dataset say.

    Attributes:
        samples: By split.
        faults: Of the annotation files.
    """

    samples: dict[str, list[Sample]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    @property
    def all_samples(self) -> list[Sample]:
        """The samples of all splits; those of validation and test come first."""
        order = sorted(self.samples, key=lambda split: split == "train")
        return [sample for split in order for sample in self.samples[split]]


def collect(data: DatasetConfig) -> Collection:
    """Read every annotation of every split; what cannot be read becomes a fault.

    Args:
        data: What `load_dataset` gives.
    """
    found = Collection()
    roots: dict[str, str] = {}
    unnamed: dict[str, str] = {}
    for split in progress([split for split in SPLITS if split in data], "Reading labels", unit="split"):
        samples, paths = found.samples.setdefault(split, []), split_paths(data, split)
        try:
            sources = find_sources(paths, data["names"], **reading(data))
        except UserError as error:
            place = ", ".join(paths)
            found.faults.append(Fault("split_unusable", split, place, str(error).removeprefix(f"{place}: ")))
            continue
        for source in sources:
            records = _read_records(source, split, found.faults)
            if source.format == "coco":
                folders = [os.path.dirname(record.image) for record in records]
                roots[source.listing()[0]] = os.path.commonpath(folders) if folders else ""
            if isinstance(source, VocSource):
                unnamed |= dict.fromkeys(source.unnamed({record.image for record in records}), split)
            members = _present(records, source, split, found.faults)
            found.faults += label_file_faults(members, source.format)
            found.faults += unused_files(source.unused(), split)
            samples += members
        repeated = {path for path, count in Counter(sample.image for sample in samples).items() if count > 1}
        found.faults += [Fault("annotated_twice", split, path, "by two parts of it", path) for path in sorted(repeated)]
        first = {sample.image: sample for sample in reversed(samples)}
        found.samples[split] = sorted(first.values(), key=lambda sample: sample.image)
    found.faults += stray_labels(found.all_samples)
    found.faults += images_not_listed(found.all_samples, roots, unnamed)
    return found


def _read_records(source: Source, split: str, faults: list[Fault]) -> list[Record]:
    """Give the source's images; what training would refuse joins the faults, here and while an image is read."""

    def note(error: AnnotationError) -> None:
        faults.append(Fault(error.kind, split, error.file, error.detail, error.image))

    return source.records(note)


def _present(records: Sequence[Record], source: Source, split: str, faults: list[Fault]) -> list[Sample]:
    """Read the annotations of the images that are there; the others are appended to the faults."""
    samples = []
    for record in records:
        image, file = record.image, record.file
        if os.path.isfile(image):
            samples.append(Sample(split, image, file, record.read()))
        elif source.format == "yolo":
            detail = "named by a list of images, or a link to nothing"
            faults.append(Fault("image_missing", split, image, detail, image))
        elif file is not None and source.format == "voc":
            faults.append(Fault("label_without_image", split, file, f"its image, {image}, is not there"))
        elif file is not None:
            faults.append(Fault("image_missing", split, file, f"{image} is listed, but not there"))
    return samples
