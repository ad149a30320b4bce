"""How much AP each kind of error costs: what AP at IoU 0.5 rises by when that kind alone is mended (TIDE)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from moat_det.evaluation.errors.kinds import ALARMS, sort_alarms
from moat_det.evaluation.errors.overlaps import ImageMatches
from moat_det.evaluation.inspection.average_precision import mean_precision

_MENDED = ("wrong_class", "badly_placed")  # kinds of which one alarm of an object becomes right


@dataclass
class _Detections:
    """All detections of a split, by descending score. Objects are numbered over the split.

    Attributes:
        scores: (D,).
        classes: (D,) category ids.
        right: (D,) whether each found an object.
        kinds: (D,) positions in `ALARMS`, or -1.
        about: (D,) the object that an alarm is about, or -1.
        objects: (G,) category ids.
        found: (G,) whether each was found at any score.
    """

    scores: np.ndarray
    classes: np.ndarray
    right: np.ndarray
    kinds: np.ndarray
    about: np.ndarray
    objects: np.ndarray
    found: np.ndarray


def lost_ap(
    images: Sequence[ImageMatches], passing_below: Mapping[int, float]
) -> tuple[float | None, dict[str, float | None]]:
    """Give AP at IoU 0.5, and what it rises by when the errors of one kind are mended and all others stay.

    A wrong class is corrected and a badly placed box moved, where the object is not found by another detection: of
    several the one of the highest score, the others go. Alarms of the other kinds go. Objects that are `not_found`, by
    no detection and about which there is no alarm of a wrong class or place at any score, leave the count. These are
    TIDE's; the kinds are of all detections, whatever their score, as AP looks at all. Ours: detections that are right
    and `below_threshold` get the highest rank. `all_false_alarms` lets all of them go, `all_misses` takes all objects
    that nothing found out of the count. What the kinds cost does not add up.

    Args:
        images: From `match_images`.
        passing_below: By category id; below that of their class right detections count as `below_threshold`.

    Returns:
        AP in [0, 1], the mean over the classes with objects, None without an object; and by kind what it costs.
    """
    table = _gather(images)
    kinds = [*ALARMS, "below_threshold", "not_found", "all_false_alarms", "all_misses"]
    if not len(table.objects):
        return None, dict.fromkeys(kinds)
    every = np.ones(len(table.scores), dtype=bool)
    all_objects = np.ones(len(table.objects), dtype=bool)
    base = _mean_ap(table, table.scores, table.classes, table.right, every, all_objects)
    cost: dict[str, float | None] = {}
    for position, kind in enumerate(ALARMS):
        of_kind = table.kinds == position
        mended = _mended(table, of_kind) if kind in _MENDED else np.zeros_like(of_kind)
        classes = table.classes.copy()
        classes[mended] = table.objects[table.about[mended]]
        kept = ~of_kind | mended
        cost[kind] = _mean_ap(table, table.scores, classes, table.right | mended, kept, all_objects) - base
    below = table.scores < np.array([passing_below[category] for category in table.classes.tolist()])
    raised = np.where(table.right & below, np.inf, table.scores)
    cost["below_threshold"] = _mean_ap(table, raised, table.classes, table.right, every, all_objects) - base
    covered = table.found.copy()
    covered[table.about[np.isin(table.kinds, [ALARMS.index(kind) for kind in _MENDED])]] = True
    cost["not_found"] = _mean_ap(table, table.scores, table.classes, table.right, every, covered) - base
    cost["all_false_alarms"] = (
        _mean_ap(table, table.scores, table.classes, table.right, table.right, all_objects) - base
    )
    cost["all_misses"] = _mean_ap(table, table.scores, table.classes, table.right, every, table.found) - base
    return base, cost


def _gather(images: Sequence[ImageMatches]) -> _Detections:
    kinds, about, start = [], [], 0
    for matches in images:
        of_image, target = sort_alarms(matches)
        kinds.append(of_image)
        about.append(np.where(target >= 0, target + start, -1))
        start += len(matches.objects)
    none = np.zeros(0, dtype=int)
    scores = np.array([entry["score"] for matches in images for entry in matches.found], dtype=float)
    classes = np.array([entry["category_id"] for matches in images for entry in matches.found], dtype=int)
    right = np.concatenate([none, *(matches.match for matches in images)]) >= 0
    # pycocotools' order, in which equal scores keep that of the images.
    order = np.argsort(-scores, kind="mergesort")
    return _Detections(
        scores=scores[order],
        classes=classes[order],
        right=right[order],
        kinds=np.concatenate([none, *kinds])[order],
        about=np.concatenate([none, *about])[order],
        objects=np.array([entry["category_id"] for matches in images for entry in matches.objects], dtype=int),
        found=np.concatenate([none, *(matches.match_of for matches in images)]) >= 0,
    )


def _mended(table: _Detections, of_kind: np.ndarray) -> np.ndarray:
    """Say which alarms of a kind become right: the best of each object that nothing found."""
    candidates = np.flatnonzero(of_kind & ~table.found[table.about])
    _, first = np.unique(table.about[candidates], return_index=True)
    mended = np.zeros(len(table.scores), dtype=bool)
    mended[candidates[first]] = True
    return mended


def _mean_ap(
    table: _Detections,
    scores: np.ndarray,
    classes: np.ndarray,
    right: np.ndarray,
    kept: np.ndarray,
    counted: np.ndarray,
) -> float:
    """Give the mean over the classes that have objects of AP; a class of which no object counts is found whole."""
    order = np.argsort(-scores, kind="mergesort")
    order = order[kept[order]]
    figures = []
    for category_id in np.unique(table.objects):
        objects = int(counted[table.objects == category_id].sum())
        hits = right[order][classes[order] == category_id]
        found, seen = np.cumsum(hits), np.arange(1, len(hits) + 1)
        figures.append(mean_precision(found[None], seen[None], np.array([objects]))[0] if objects else 1.0)
    return float(np.mean(figures))
