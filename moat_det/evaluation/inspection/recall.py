"""Recall of boxes by class and by size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from moat_det.evaluation.inspection.box_matches import ClassMatches
from moat_det.evaluation.inspection.froc import recall_interval
from moat_det.evaluation.inspection.intervals import CONFIDENCE, Interval
from moat_det.evaluation.inspection.parts import Parts

_COCO_SIDES = {"small": (0.0, 32.0), "medium": (32.0, 96.0), "large": (96.0, math.inf)}
_TERCILES = ("smallest third", "middle third", "largest third")


@dataclass(frozen=True)
class Recall:
    """The share of some objects that is found at a threshold.

    Attributes:
        objects: How many there are.
        found: How many are found.
        recall: With its interval; None without an object.
    """

    objects: int
    found: int
    recall: Interval | None


@dataclass(frozen=True)
class SizeRecall(Recall):
    """The same of the objects of a range of sizes.

    Attributes:
        buckets: "coco" for COCO's ranges, "terciles" for thirds of the set's own objects.
        name: Of the range.
        from_side: The least root of the area, in pixels.
        to_side: The largest; infinite where there is no limit.
    """

    buckets: str
    name: str
    from_side: float
    to_side: float


def class_labels(ground_truth: Mapping[str, Any]) -> dict[int, str]:
    """Give the name of each category by its id; names that occur twice carry it, as in `metrics.json`."""
    names = {category["id"]: str(category["name"]) for category in ground_truth["categories"]}
    all_names = list(names.values())
    return {key: name if all_names.count(name) == 1 else f"{name} ({key})" for key, name in names.items()}


def recall_by_class(
    matches: Sequence[ClassMatches], parts: Parts, threshold: float, confidence: float = CONFIDENCE
) -> dict[int, Recall]:
    """Give the recall of each class at a threshold, by category id."""
    return {
        each.category_id: Recall(
            len(each.objects),
            int((each.found_at[0] >= threshold).sum()),
            recall_interval(each.objects, each.found_at[0] >= threshold, parts, confidence),
        )
        for each in matches
    }


def recall_by_size(
    matches: Sequence[ClassMatches], parts: Parts, threshold: float, confidence: float = CONFIDENCE
) -> list[SizeRecall]:
    """Give the recall of the objects of each size at a threshold: in COCO's ranges, and in thirds of the set's own.

    Two of COCO's ranges share their limit, as in pycocotools; the thirds are parted by area, so that objects of one
    area are together.
    """
    objects = np.concatenate([np.zeros(0, dtype=int), *(each.objects for each in matches)])
    found = np.concatenate([np.zeros(0, dtype=bool), *(each.found_at[0] >= threshold for each in matches)])
    areas = np.concatenate([np.zeros(0), *(each.areas for each in matches)])

    def of(chosen: np.ndarray, buckets: str, name: str, low: float, high: float) -> SizeRecall:
        count, hits = int(chosen.sum()), int(found[chosen].sum())
        interval = recall_interval(objects[chosen], found[chosen], parts, confidence)
        return SizeRecall(count, hits, interval, buckets, name, low, high)

    rows = [
        of((areas >= low**2) & (areas <= high**2), "coco", name, low, high) for name, (low, high) in _COCO_SIDES.items()
    ]
    if len(areas):
        first, second = np.quantile(areas, [1 / 3, 2 / 3], method="inverted_cdf")
        bounds = (areas.min(), first, second, areas.max())
        third = np.searchsorted([first, second], areas)
        sides = np.sqrt(bounds).tolist()
        rows += [
            of(third == number, "terciles", name, sides[number], sides[number + 1])
            for number, name in enumerate(_TERCILES)
        ]
    return rows
