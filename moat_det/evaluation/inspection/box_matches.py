"""Detections and objects matched once, by pycocotools' rules, and kept as arrays that can be counted anew."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np

from moat_det.evaluation.matching import BoxEval, coco_of

Entry = Mapping[str, Any]

AP_IOUS = np.linspace(0.5, 0.95, 10)
"""The overlaps that AP is the mean over."""

AP_DETECTIONS = 100
"""So many of a class are looked at in an image, the best, where AP is measured."""


@dataclass(frozen=True)
class ClassMatches:
    """What the detections of one class found, T overlaps at a time.

    A match is of the same class and of at least the overlap; each object is found once, by the best of its detections.
    Detections on regions to ignore count neither way.

    Attributes:
        category_id: The class.
        scores: (D,) of the detections, the highest first.
        images: (D,) the position of their image in the ground truth.
        right: (T, D) whether each found an object that counts.
        wrong: (T, D) whether each is a false alarm.
        objects: (G,) the position of the image of each object that counts.
        areas: (G,) of the objects, in square pixels.
        found_at: (T, G) the score of the detection that found each; -1 where none did.
    """

    category_id: int
    scores: np.ndarray
    images: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    objects: np.ndarray
    areas: np.ndarray
    found_at: np.ndarray


def match_boxes(
    ground_truth: Mapping[str, Any],
    predictions: Sequence[Entry],
    ious: np.ndarray = AP_IOUS,
    max_detections: int | None = AP_DETECTIONS,
) -> list[ClassMatches]:
    """Match the detections of a validation with its objects.

    Args:
        ground_truth: The COCO dictionary that a validation writes.
        predictions: Its detections, in COCO's results format; those of images or classes that the ground truth lacks
            are left out.
        ious: (T,) overlaps that a match needs, ascending.
        max_detections: Look at so many of a class in an image, the best; None: at all.

    Returns:
        For each category of the ground truth, in its order.
    """
    position = {image["id"]: number for number, image in enumerate(ground_truth["images"])}
    category_ids = [category["id"] for category in ground_truth["categories"]]
    known = set(category_ids)
    # Counted from 1, since pycocotools takes an id of 0 for no match.
    objects = [
        {**entry, "id": number, "iscrowd": int(bool(entry.get("iscrowd")))}
        for number, entry in enumerate(ground_truth["annotations"], 1)
        if entry["image_id"] in position and entry["category_id"] in known
    ]
    found = [entry for entry in predictions if entry["image_id"] in position]
    most = max(Counter((entry["image_id"], entry["category_id"]) for entry in found).values(), default=0)
    with redirect_stdout(io.StringIO()):
        truth = coco_of({**ground_truth, "annotations": objects})
        empty = coco_of({**ground_truth, "annotations": []})
        evaluation = BoxEval(truth, truth.loadRes([dict(entry) for entry in found]) if found else empty)
        evaluation.params.iouThrs = np.asarray(ious)
        evaluation.params.areaRng = evaluation.params.areaRng[:1]
        evaluation.params.maxDets = [max(most, 1) if max_detections is None else max_detections]
        evaluation.evaluate()
    count = len(position)
    columns = [position[image_id] for image_id in evaluation.params.imgIds]
    by_class = {
        category_id: list(zip(columns, evaluation.evalImgs[place * count : (place + 1) * count], strict=True))
        for place, category_id in enumerate(evaluation.params.catIds)
    }
    counted: dict[int, list[dict[str, Any]]] = {category_id: [] for category_id in category_ids}
    for entry in objects:
        if not entry["iscrowd"]:
            counted[entry["category_id"]].append(entry)
    return [
        _of_class(category_id, by_class[category_id], counted[category_id], position, len(ious))
        for category_id in category_ids
    ]


def _of_class(
    category_id: int,
    matched: list[tuple[int, dict[str, Any] | None]],
    objects: list[dict[str, Any]],
    position: Mapping[int, int],
    ious: int,
) -> ClassMatches:
    blocks = [(column, block) for column, block in matched if block is not None and len(block["dtScores"])]
    scores = np.concatenate([np.zeros(0), *(block["dtScores"] for _, block in blocks)])
    # pycocotools' order, in which equal scores keep that of the images.
    order = np.argsort(-scores, kind="mergesort")
    ids = np.concatenate([np.zeros((ious, 0), dtype=int), *(block["dtMatches"] for _, block in blocks)], axis=1)
    ignored = np.concatenate([np.zeros((ious, 0), dtype=bool), *(block["dtIgnore"] for _, block in blocks)], axis=1)
    images = np.repeat([column for column, _ in blocks], [len(block["dtScores"]) for _, block in blocks]).astype(int)
    scores, ids, ignored = scores[order], ids[:, order].astype(int), ignored[:, order].astype(bool)
    right, wrong = (ids > 0) & ~ignored, (ids == 0) & ~ignored
    column = {entry["id"]: number for number, entry in enumerate(objects)}
    found_at = np.full((ious, len(objects)), -1.0)
    for level, detection in np.argwhere(right):
        found_at[level, column[ids[level, detection]]] = scores[detection]
    return ClassMatches(
        category_id=category_id,
        scores=scores,
        images=images[order],
        right=right,
        wrong=wrong,
        objects=np.array([position[entry["image_id"]] for entry in objects], dtype=int),
        areas=np.array([float(entry.get("area", entry["bbox"][2] * entry["bbox"][3])) for entry in objects]),
        found_at=found_at,
    )
