"""Confusion matrix of detections, with the background as a class of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from moat_det.evaluation.inspection.rule import THRESHOLD
from moat_det.evaluation.matching import overlaps


class Measured(Protocol):
    """A validation: an evaluator after its updates, or what was read of its files."""

    @property
    def ground_truth(self) -> Mapping[str, Any]:
        """The COCO dictionary of the labels."""

    @property
    def predictions(self) -> Sequence[Mapping[str, Any]]:
        """The detections, in COCO's results format."""

    @property
    def labels(self) -> Mapping[int, str]:
        """The name of each category by its id."""


def confusion_matrix(evaluator: Measured, conf: float = THRESHOLD, iou: float = 0.5) -> np.ndarray:
    """Count what each object was taken for.

    In the order of their scores, detections take the free object of any class that they overlap most; where
    two overlap alike, the one of their own class. A detection that takes none counts as background found, an
    object that nothing takes as found to be background. Crowd regions count neither way, nor do unmatched
    detections on them.

    Args:
        evaluator: What was measured.
        conf: Detections with a lower score are left out.
        iou: The least overlap at which a detection takes an object.

    Returns:
        (K + 1, K + 1) int counts, rows predicted, columns true, in the order of `evaluator.labels`,
        background last.
    """
    row = {category_id: position for position, category_id in enumerate(evaluator.labels)}
    background = len(row)
    matrix = np.zeros((background + 1, background + 1), dtype=int)
    objects: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for annotation in evaluator.ground_truth["annotations"]:
        if annotation["category_id"] in row:
            objects[annotation["image_id"]].append(annotation)
    detections: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for entry in evaluator.predictions:
        if entry["score"] >= conf:
            detections[entry["image_id"]].append(entry)

    for image in evaluator.ground_truth["images"]:
        found = sorted(detections[image["id"]], key=lambda entry: -entry["score"])
        present = objects[image["id"]]
        predicted = [row[entry["category_id"]] for entry in found]
        true = [row[annotation["category_id"]] for annotation in present]
        crowd = [bool(annotation["iscrowd"]) for annotation in present]
        free = [not region for region in crowd]
        for d, overlap in enumerate(overlaps(found, present)):
            candidates = [(overlap[g], true[g] == predicted[d], g) for g in np.flatnonzero(free) if overlap[g] >= iou]
            if candidates:
                match = max(candidates)[-1]
                free[match] = False
                matrix[predicted[d], true[match]] += 1
            elif not any(region and overlap[g] >= iou for g, region in enumerate(crowd)):
                matrix[predicted[d], background] += 1
        for g in np.flatnonzero(free):
            matrix[background, true[g]] += 1
    return matrix
