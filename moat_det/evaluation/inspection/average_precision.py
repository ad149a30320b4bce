"""AP of resampled parts: matched once, accumulated as often as is asked, so that AP has an interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from moat_det.evaluation.inspection.box_matches import ClassMatches
from moat_det.evaluation.inspection.intervals import (
    CONFIDENCE,
    RESAMPLES,
    Interval,
    cumulated,
    percentile_interval,
    resampled,
)
from moat_det.evaluation.inspection.parts import Parts
from moat_det.progress import progress

_RECALLS = np.linspace(0.0, 1.0, 101)


def ap_interval(
    matches: Sequence[ClassMatches],
    parts: Parts,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Interval | None:
    """Give AP (IoU 0.50:0.95) and its interval by bootstrap over the parts; None without an object.

    Args:
        matches: From `match_boxes`, by its defaults.
        parts: Of the same files.
        confidence: Of the interval.
        resamples: How often to draw the parts anew.
    """
    value = mean_ap(average_precision(matches, np.ones((1, len(parts.of_image)), dtype=int)))[0]
    if not np.isfinite(value):
        return None
    part_of = np.array(list(parts.of_image.values()))
    figures = []
    with progress(text="interval of AP", total=resamples, unit="sample", leave=False) as bar:
        for counts in resampled(len(parts), resamples):
            figures.append(mean_ap(average_precision(matches, counts[:, part_of])))
            bar.update(len(counts))
    return percentile_interval(float(value), np.concatenate(figures), confidence) if figures else None


def mean_ap(of_class: np.ndarray) -> np.ndarray:
    """Give the mean over classes and overlaps of `average_precision`'s figures, (R,); NaN without an object."""
    present = np.isfinite(of_class)
    total, count = np.where(present, of_class, 0).sum(axis=(1, 2)), present.sum(axis=(1, 2))
    return np.divide(total, count, out=np.full(len(of_class), np.nan), where=count > 0)


def average_precision(matches: Sequence[ClassMatches], counts: np.ndarray) -> np.ndarray:
    """Give the AP of each class at each overlap, for splits in which each image lies so many times.

    With every image once they are those of pycocotools.

    Args:
        matches: The K classes at T overlaps.
        counts: (R, images) how often each image is in the split, whose AP is asked.

    Returns:
        (R, K, T) in [0, 1]; NaN where a class has no object.
    """
    ious = len(matches[0].right) if matches else 0
    figures = np.full((len(counts), len(matches), ious), np.nan)
    for column, of_class in enumerate(matches):
        objects = counts[:, of_class.objects].sum(axis=1)
        for level in range(ious):
            # Precision is only looked up where recall rises, which is at right detections.
            rises = np.flatnonzero(of_class.right[level])
            counting = np.flatnonzero(of_class.right[level] | of_class.wrong[level])
            right = counts[:, of_class.images[rises]].cumsum(axis=1)
            seen = cumulated(np.searchsorted(rises, counting), of_class.images[counting], counts, len(rises))
            figures[:, column, level] = mean_precision(right, seen, objects)
        figures[objects == 0, column] = np.nan
    return figures


def mean_precision(right: np.ndarray, seen: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Give the mean precision over 101 recalls, as COCO interpolates it, (R,).

    Args:
        right: (R, N) right detections up to each that raises the recall.
        seen: (R, N) detections that count, up to the same.
        objects: (R,) how many there are to find.
    """
    precision = right / (seen + np.spacing(1))
    recall = right / np.maximum(objects, 1)[:, None]
    best_after = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    padded = np.hstack([best_after, np.zeros((len(right), 1))])  # recalls that are never reached
    places = np.stack([np.searchsorted(row, _RECALLS, side="left") for row in recall])
    return np.take_along_axis(padded, places, axis=1).mean(axis=1)
