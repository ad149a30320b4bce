"""The check of a dataset from its YAML to the list of its faults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moat_det.checks.balance import class_faults, count_classes, good_part_faults, group_faults
from moat_det.checks.boxes import box_faults
from moat_det.checks.collect import collect
from moat_det.checks.decode import inspect_images
from moat_det.checks.duplicates import duplicate_faults
from moat_det.checks.faults import KINDS, Fault, Severity
from moat_det.checks.images import depth_faults, image_faults
from moat_det.checks.recommend import Recommendation, recommend
from moat_det.checks.samples import Sample
from moat_det.data.config import DatasetConfig, load_dataset
from moat_det.data.convert import check_target
from moat_det.demo import dataset_source
from moat_det.progress import progress


@dataclass(frozen=True)
class Check:
    """What was found.

    Attributes:
        data: What `load_dataset` gives.
        samples: By split, by path.
        counts: By split, (number of classes,) boxes as training counts them.
        faults: The worst first.
        recommendations: What to train with.
    """

    data: DatasetConfig
    samples: dict[str, list[Sample]]
    counts: dict[str, np.ndarray]
    faults: list[Fault]
    recommendations: list[Recommendation]

    @property
    def severity(self) -> Severity:
        """That of the worst fault; its value is the exit code."""
        return max((fault.severity for fault in self.faults), default=Severity.NOTE)

    def by_kind(self) -> dict[str, list[Fault]]:
        """Give the faults of each kind that was found, the worst first."""
        kinds: dict[str, list[Fault]] = {}
        for fault in self.faults:
            kinds.setdefault(fault.kind, []).append(fault)
        return kinds


def check_dataset(source: str | Path, group: str | None = None, copy: Path | None = None) -> Check:
    """Look for everything that may be wrong with a dataset; nothing is written.

    Each image is decoded once.

    Args:
        source: What `--data` takes.
        group: A regular expression that is searched in the images' names: those for which its first group, or else the
            whole match, is the same belong into one split.
        copy: The folder, absolute, that a corrected copy is to be written into; None for no copy.

    Raises:
        UserError: The dataset YAML itself is not in order, `group` is no regular expression or does not match, or
            `copy` lies within the images or cannot be written.
    """
    data = load_dataset(dataset_source(source))
    found = collect(data)
    samples = found.all_samples
    faults = list(found.faults)
    # What is wrong with the arguments shall not cost the time of the images.
    if copy is not None:
        check_target(copy, (sample.image for sample in samples))
    if group is not None:
        faults += group_faults(samples, group)
    facts = inspect_images([sample.image for sample in samples], data["channels"])
    for sample in samples:
        sample.facts = facts[sample.image]
    for split, members in found.samples.items():
        faults += image_faults(members, data["channels"])
        faults += good_part_faults(split, members, data["yaml_file"])
    faults += depth_faults(found.samples, data["intensity"].kind)
    for sample in progress(samples, "Checking boxes", unit="image"):
        faults += box_faults(sample)
    faults += duplicate_faults(samples)
    counts = {split: count_classes(members, data["nc"]) for split, members in found.samples.items()}
    present = {split: boxes for split, boxes in counts.items() if found.samples[split]}
    faults += class_faults(present, data["names"], data["yaml_file"]) if present else []
    order = {kind: position for position, kind in enumerate(KINDS)}
    faults.sort(key=lambda fault: order[fault.kind])
    return Check(data, found.samples, counts, faults, recommend(data, found.samples, counts))
