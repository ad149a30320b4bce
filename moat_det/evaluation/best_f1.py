"""Precision and recall at one confidence, from the matches that the COCO evaluation has made."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools.cocoeval import COCOeval

_CONFIDENCES = np.linspace(0, 1, 1001)


def best_f1(evaluation: COCOeval) -> tuple[float, float]:
    """Give precision and recall at IoU 0.5, each the mean over the classes, at the confidence of the best mean F1.

    It is one confidence for all classes, of 0, 0.001, ..., 1, as a user would set it, and the lowest of equals. A class
    of which nothing is found there has precision 0; classes without objects do not count. As in AP, an object is found
    once, regions to ignore count neither way, and of an image and class the 100 best detections are looked at.

    Args:
        evaluation: After `evaluate`.

    Returns:
        Precision and recall in [0, 1]; 0 where there is no object.
    """
    images, areas = len(evaluation.params.imgIds), len(evaluation.params.areaRng)
    # By class, then range of areas, of which the first is all, then image; None where there is nothing.
    blocks = [
        [matched for matched in evaluation.evalImgs[start : start + images] if matched is not None]
        for start in range(0, len(evaluation.evalImgs), images * areas)
    ]
    curves = [_curves(block) for block in blocks if _count_objects(block)]
    if not curves:
        return 0.0, 0.0
    precision, recall = np.stack(curves, axis=1)
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    best = f1.mean(axis=0).argmax()
    return float(precision[:, best].mean()), float(recall[:, best].mean())


def _count_objects(block: list[dict[str, Any]]) -> int:
    return sum(int(np.sum(~np.asarray(matched["gtIgnore"], dtype=bool))) for matched in block)


def _curves(block: list[dict[str, Any]]) -> np.ndarray:
    """Give precision and recall of a class over `_CONFIDENCES`, (2, 1001)."""
    counted = ~np.concatenate([matched["dtIgnore"][0] for matched in block])
    scores = np.concatenate([matched["dtScores"] for matched in block])[counted]
    hits = np.concatenate([matched["dtMatches"][0] for matched in block])[counted] > 0
    order = np.argsort(scores, kind="stable")
    below = np.searchsorted(scores[order], _CONFIDENCES)
    found = len(scores) - below
    right = hits.sum() - np.concatenate([[0], np.cumsum(hits[order])])[below]
    return np.stack([right / np.maximum(found, 1), right / _count_objects(block)])
