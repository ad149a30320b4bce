"""All samples of a dataset, with the faults of its annotation files."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from moat_det.checks.faults import Fault
from moat_det.checks.read_coco import collect_coco
from moat_det.checks.read_voc import collect_voc
from moat_det.checks.read_yolo import collect_yolo
from moat_det.checks.samples import Sample
from moat_det.checks.stray import stray_labels, unlisted_images
from moat_det.data.config import SPLITS
from moat_det.data.formats.coco import CocoSource
from moat_det.data.formats.sources import find_sources
from moat_det.data.formats.voc import VocSource
from moat_det.data.formats.yolo import YoloSource
from moat_det.errors import UserError


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


def collect(data: dict[str, Any]) -> Collection:
    """Read every annotation of every split; what cannot be read becomes a fault.

    Args:
        data: What `load_dataset` gives.
    """
    found = Collection()
    roots: dict[str, str] = {}
    for split in tqdm([split for split in SPLITS if split in data], "Reading labels", unit="split", disable=None):
        samples = found.samples.setdefault(split, [])
        try:
            sources = find_sources(data[split], data["names"], data.get("image_roots"))
        except UserError as error:
            found.faults.append(
                Fault("split_unusable", split, str(data[split]), str(error).removeprefix(f"{data[split]}: "))
            )
            continue
        for source in sources:
            if isinstance(source, YoloSource):
                samples += collect_yolo(source, split, data["nc"], found.faults)
            elif isinstance(source, VocSource):
                samples += collect_voc(source, split, data["names"], found.faults)
            elif isinstance(source, CocoSource):
                samples += collect_coco(source, split, data["names"], found.faults, roots)
        repeated = {path for path, count in Counter(sample.image for sample in samples).items() if count > 1}
        found.faults += [Fault("annotated_twice", split, path, "by two parts of it", path) for path in sorted(repeated)]
        first = {sample.image: sample for sample in reversed(samples)}
        found.samples[split] = sorted(first.values(), key=lambda sample: sample.image)
    found.faults += stray_labels(found.all_samples)
    found.faults += unlisted_images(found.all_samples, roots)
    return found
