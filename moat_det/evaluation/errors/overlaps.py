"""Each image's detections beside its objects: their overlaps, which found which, and which kind of error each is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from moat_det.evaluation.inspection.box_matches import AP_DETECTIONS
from moat_det.evaluation.matching import overlaps

Entry = Mapping[str, Any]

FOUND_IOU = 0.5
"""From this overlap on a detection is at its object's place."""

BACKGROUND_IOU = 0.1
"""Under this overlap it has nothing to do with an object (TIDE's thresholds)."""


@dataclass(frozen=True)
class ImageMatches:
    """The D detections and G objects of an image. Detections on regions to ignore are left out.

    Attributes:
        image: Its entry in the ground truth.
        found: The detections, the highest score first.
        objects: Those that count.
        ious: (D, G) overlaps.
        same: (D, G) whether the classes agree.
        match: (D,) the object that each found, by COCO's rules at IoU 0.5; -1: it is a false alarm.
        match_of: (G,) the detection that found each; -1: it is missed at any threshold.
    """

    image: Entry
    found: Sequence[Entry]
    objects: Sequence[Entry]
    ious: np.ndarray
    same: np.ndarray
    match: np.ndarray
    match_of: np.ndarray


def match_images(ground_truth: Mapping[str, Any], predictions: Sequence[Entry]) -> list[ImageMatches]:
    """Match the detections of a validation with its objects, as COCO's AP at IoU 0.5 does.

    Args:
        ground_truth: The COCO dictionary that a validation writes.
        predictions: Its detections, in COCO's results format; those of images or classes that the ground truth lacks
            are left out.

    Returns:
        For each image of the ground truth, in its order.
    """
    known = {category["id"] for category in ground_truth["categories"]}
    objects: dict[int, list[Entry]] = defaultdict(list)
    found: dict[int, list[Entry]] = defaultdict(list)
    for target, entries in ((objects, ground_truth["annotations"]), (found, predictions)):
        for entry in entries:
            if entry["category_id"] in known:
                target[entry["image_id"]].append(entry)
    return [_match(image, objects[image["id"]], found[image["id"]]) for image in ground_truth["images"]]


def _match(image: Entry, annotations: Sequence[Entry], found: Sequence[Entry]) -> ImageMatches:
    found = _best(found)
    objects = [entry for entry in annotations if not entry.get("iscrowd")]
    crowds = [entry for entry in annotations if entry.get("iscrowd")]
    ious, same = overlaps(found, objects), same_class(found, objects)
    on_crowd = ((overlaps(found, crowds) >= FOUND_IOU) & same_class(found, crowds)).any(axis=1)
    match, match_of = np.full(len(found), -1), np.full(len(objects), -1)
    for detection, row in enumerate(np.where(same, ious, 0)):
        free = np.where(match_of < 0, row, 0)
        if len(free) and free.max() >= FOUND_IOU:
            taken = int(np.flatnonzero(free == free.max())[-1])  # pycocotools takes the last of equals
            match[detection], match_of[taken] = taken, detection
    kept = np.flatnonzero((match >= 0) | ~on_crowd)
    place = np.append(np.cumsum(np.isin(np.arange(len(found)), kept)) - 1, -1)
    return ImageMatches(
        image, [found[k] for k in kept], objects, ious[kept], same[kept], match[kept], place[match_of].astype(int)
    )


def _best(found: Sequence[Entry]) -> list[Entry]:
    """Give the best detections of each class, as AP looks at them, the highest score first."""
    count: dict[int, int] = defaultdict(int)
    kept = []
    for entry in sorted(found, key=lambda entry: -entry["score"]):
        count[entry["category_id"]] += 1
        if count[entry["category_id"]] <= AP_DETECTIONS:
            kept.append(entry)
    return kept


def same_class(found: Sequence[Entry], objects: Sequence[Entry]) -> np.ndarray:
    """Say of D detections and G objects which are of one class, (D, G)."""
    left, right = (np.array([entry["category_id"] for entry in entries], dtype=int) for entries in (found, objects))
    return left[:, None] == right
