"""Faults of a set as a whole: its classes, its good parts, groups that cross splits."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from moat_det.checks.faults import Fault
from moat_det.checks.samples import Sample
from moat_det.data.groups import group_of

IMBALANCE = 10
"""A class that is rarer than the most common one by this factor is worth a note."""
_MOSTLY = 0.5


def class_faults(counts: Mapping[str, np.ndarray], names: Mapping[int, str], file: str) -> Iterator[Fault]:
    """Tell which classes are absent or rare, from the boxes of each class by split.

    Args:
        counts: By split, (number of classes,) boxes.
        names: Class id to name.
        file: The dataset YAML, which the faults name.
    """
    total = np.sum(list(counts.values()), axis=0)
    train = counts.get("train", np.zeros_like(total))
    for cls, name in names.items():
        if not total[cls]:
            yield Fault("class_without_box", "+".join(counts), file, f"{cls}: {name}")
            continue
        if "train" in counts and not train[cls]:
            splits = [split for split in counts if counts[split][cls]]
            detail = f"{cls}: {name}, {total[cls]} boxes"
            yield Fault("class_absent_from_train", "+".join(splits), file, detail)
        for split, found in counts.items():
            if split != "train" and train[cls] and not found[cls]:
                yield Fault("class_missing_from_split", split, file, f"{cls}: {name}, {train[cls]} boxes in train")
        if 0 < train[cls] * IMBALANCE <= train.max():
            most = int(np.argmax(train))
            detail = f"{cls}: {name}, {train[cls]} boxes; {names[most]} has {train[most]}"
            yield Fault("class_imbalance", "train", file, detail)
    seen: dict[str, str] = {}
    for name in names.values():
        plain = "".join(name.lower().replace("_", " ").replace("-", " ").split())
        if plain in seen:
            yield Fault("similar_names", "+".join(counts), file, f"'{seen[plain]}' and '{name}'")
        seen[plain] = name


def count_classes(samples: Sequence[Sample], num_classes: int) -> np.ndarray:
    """Boxes of each class, as training counts them."""
    found = [image.classes[~image.ignored] for sample in samples if (image := sample.labelled)]
    return np.bincount(np.concatenate([np.zeros(0, np.int64), *found]), minlength=num_classes)


def good_part_faults(split: str, samples: Sequence[Sample], file: str) -> Iterator[Fault]:
    """Tell that most images of a split have no box."""
    good, images = sum(not sample.annotation.rows for sample in samples), len(samples)
    if images and good > _MOSTLY * images:
        yield Fault("good_parts", split, file, f"{good} of {images} images ({good / images:.0%}) have no box")


def group_faults(samples: Sequence[Sample], group: str) -> Iterator[Fault]:
    """Tell the groups that have images in more than one split.

    Raises:
        UserError: `group` is no regular expression, or does not match a name.
    """
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[group_of(os.path.basename(sample.image), group)].append(sample)
    for key, members in groups.items():
        splits = dict.fromkeys(sample.split for sample in members)
        if len(splits) > 1:
            counts = ", ".join(f"{sum(s.split == split for s in members)} in {split}" for split in splits)
            other = next(sample for sample in members if sample.split != members[0].split)
            detail = f"group '{key}': {counts}"
            yield Fault("group_leak", "+".join(splits), members[0].image, detail, members[0].image, (), other.image)
