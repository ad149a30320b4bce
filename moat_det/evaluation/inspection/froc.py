"""Recall of boxes against false alarms per image: the free-response curve (FROC; Bunch et al. 1978)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from moat_det.evaluation.inspection.box_matches import ClassMatches
from moat_det.evaluation.inspection.intervals import (
    CONFIDENCE,
    RESAMPLES,
    Interval,
    clustered_interval,
    count_interval,
    cumulated,
    percentile_interval,
    resampled,
)
from moat_det.evaluation.inspection.parts import Parts

FALSE_ALARMS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Per image, at which the recall is given."""


@dataclass(frozen=True)
class FrocPoint:
    """The recall that so many false alarms per image allow.

    Attributes:
        false_alarms_per_image: At most.
        threshold: On the scores: that of the last object which is found; 1 where none is.
        recall: With its interval.
    """

    false_alarms_per_image: float
    threshold: float
    recall: Interval


@dataclass(frozen=True)
class Alarms:
    """The detections of all classes at one overlap, the highest score first.

    Attributes:
        scores: (D,) of the detections.
        images: (D,) the position of the image of each.
        right: (D,) it found an object.
        wrong: (D,) it is a false alarm.
        objects: (G,) the position of the image of each object.
        found_at: (G,) the score from which on down it is found; -1 where it never is.
    """

    scores: np.ndarray
    images: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    objects: np.ndarray
    found_at: np.ndarray


def gather(matches: Sequence[ClassMatches]) -> Alarms:
    """Put the classes together, at the first of their overlaps."""
    none, no = np.zeros(0), np.zeros(0, dtype=bool)
    scores = np.concatenate([none, *(each.scores for each in matches)])
    order = np.argsort(-scores, kind="stable")
    return Alarms(
        scores=scores[order],
        images=np.concatenate([none, *(each.images for each in matches)]).astype(int)[order],
        right=np.concatenate([no, *(each.right[0] for each in matches)])[order],
        wrong=np.concatenate([no, *(each.wrong[0] for each in matches)])[order],
        objects=np.concatenate([none, *(each.objects for each in matches)]).astype(int),
        found_at=np.concatenate([none, *(each.found_at[0] for each in matches)]),
    )


def false_alarms(alarms: Alarms, parts: Parts, threshold: float, confidence: float = CONFIDENCE) -> Interval | None:
    """Give the false alarms per image at a threshold; None without an image.

    The interval is Poisson's with the dispersion over the parts, see `count_interval`.
    """
    shown = alarms.wrong & (alarms.scores >= threshold)
    part_of = np.array(list(parts.of_image.values()), dtype=int)
    counts = np.bincount(part_of[alarms.images[shown]], minlength=len(parts))
    return count_interval(counts, parts.image_counts, confidence)


def froc(
    alarms: Alarms,
    parts: Parts,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    at: Sequence[float] = FALSE_ALARMS,
) -> list[FrocPoint]:
    """Give the recall at some numbers of false alarms per image, with intervals by bootstrap over the parts.

    The threshold is chosen anew on each resample, so that an interval holds for the number of false alarms and not for
    the threshold. Where recall is 0 or 1, or no resample differs, the interval is that of a rate at the threshold, by
    the effective number of boxes (`clustered_interval`). Points at which there would be less than one false alarm in
    all images are left out, as are those above what the detections give, but for the first.

    Args:
        alarms: From `gather`.
        parts: Of the same files.
        confidence: Of the intervals.
        resamples: How often to draw the parts anew; 0 gives the intervals at the thresholds.
        at: False alarms per image, ascending.

    Returns:
        The points; none without an object.
    """
    images = len(parts.of_image)
    if not len(alarms.objects) or not images:
        return []
    given = alarms.wrong.sum() / images
    at = [each for each in at if each * images >= 1]
    at = at[: int(np.searchsorted(at, given)) + 1]
    part_of = np.array(list(parts.of_image.values()), dtype=int)
    recalls, thresholds = _curve(alarms, np.ones((1, images), dtype=int), at)
    drawn = [_curve(alarms, counts[:, part_of], at)[0] for counts in resampled(len(parts), resamples)]
    figures = np.concatenate(drawn) if drawn else np.zeros((0, len(at)))
    points = []
    rows = zip(at, recalls[0].tolist(), thresholds[0].tolist(), strict=True)
    for column, (allowed, recall, threshold) in enumerate(rows):
        interval = percentile_interval(recall, figures[:, column], confidence)
        if interval is None or recall in (0, 1) or interval.low == interval.high:
            interval = recall_interval(alarms.objects, alarms.found_at >= threshold, parts, confidence)
        assert interval is not None
        points.append(FrocPoint(allowed, threshold, Interval(recall, interval.low, interval.high)))
    return points


def recall_interval(
    objects: np.ndarray, found: np.ndarray, parts: Parts, confidence: float = CONFIDENCE
) -> Interval | None:
    """Give the share of the objects that are found, with its interval by the effective number; None without one.

    Args:
        objects: (G,) the position of the image of each.
        found: (G,) whether it is.
        parts: Of which objects are not independent.
        confidence: Of the interval.
    """
    owners = np.array(list(parts.of_image.values()), dtype=int)[objects]
    hits = np.bincount(owners[found], minlength=len(parts))
    return clustered_interval(hits, np.bincount(owners, minlength=len(parts)), confidence)


def _curve(alarms: Alarms, counts: np.ndarray, at: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Give recall and threshold at so many false alarms per image, for splits of drawn images; (R, N) each."""
    images, objects = counts.sum(axis=1), counts[:, alarms.objects].sum(axis=1)
    levels = np.unique(-alarms.scores[alarms.right])  # recall rises at these scores, at equal ones together
    places = np.searchsorted(levels, -alarms.scores)
    right, wrong = (
        cumulated(places[chosen], alarms.images[chosen], counts, len(levels)) for chosen in (alarms.right, alarms.wrong)
    )
    allowed = np.floor(np.outer(images, at) + 1e-9)  # in spite of the rounding of the product
    rises = np.stack([np.searchsorted(row, most, side="right") for row, most in zip(wrong, allowed, strict=True)])
    found = np.take_along_axis(np.hstack([np.zeros((len(counts), 1), dtype=int), right]), rises, axis=1)
    recall = np.divide(found, objects[:, None], out=np.full(found.shape, np.nan), where=objects[:, None] > 0)
    return recall, np.concatenate([[1.0], -levels])[rises]
