"""The kinds of false alarms and of misses, as TIDE sorts them (Bolya et al. 2020, arXiv 2008.08115)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from moat_det.evaluation.errors.overlaps import BACKGROUND_IOU, FOUND_IOU, Entry, ImageMatches

ALARMS = ("wrong_class", "badly_placed", "both", "duplicate", "background")
"""Of false alarms: on an object of another class; on one of its class, IoU 0.1 to 0.5; on one of another class, IoU 0.1
to 0.5; on an object that a better detection found; on none."""

MISSES = ("wrong_class", "badly_placed", "below_threshold", "not_found")
"""Of objects that nothing found whose score keeps a part from passing: a detection of the wrong class with such a score
lies on it; one that is badly placed; a detection with a lower score finds it; nothing does."""

_WRONG_CLASS, _BADLY_PLACED, _BOTH, _DUPLICATE, _BACKGROUND = range(len(ALARMS))


def sort_alarms(matches: ImageMatches) -> tuple[np.ndarray, np.ndarray]:
    """Sort the false alarms of an image.

    Returns:
        (D,) the position in `ALARMS`, -1 for a detection that found an object; and (D,) the object that an alarm is
        about, -1 for the background.
    """
    kinds, about = np.full(len(matches.found), -1), np.full(len(matches.found), -1)
    for detection in np.flatnonzero(matches.match < 0):
        kinds[detection], about[detection] = _kind(matches.ious[detection], matches.same[detection])
    return kinds, about


def _kind(ious: np.ndarray, same: np.ndarray) -> tuple[int, int]:
    if not len(ious) or ious.max() < BACKGROUND_IOU:
        return _BACKGROUND, -1
    own, other = np.where(same, ious, -1), np.where(same, -1, ious)
    if BACKGROUND_IOU <= own.max() < FOUND_IOU:
        return _BADLY_PLACED, int(own.argmax())
    if other.max() >= FOUND_IOU:
        return _WRONG_CLASS, int(other.argmax())
    if own.max() >= FOUND_IOU:
        return _DUPLICATE, int(own.argmax())
    return _BOTH, int(other.argmax())


def find_errors(
    images: Sequence[ImageMatches],
    names: Mapping[int, str],
    thresholds: Mapping[int, float],
    passing_below: Mapping[int, float],
) -> tuple[list[dict[str, Any]], int]:
    """List every false alarm and every miss.

    Args:
        images: From `match_images`.
        names: Category id to name.
        thresholds: By category id; below that of its class a detection is no false alarm.
        passing_below: By category id; below that of its class a detection finds nothing, as its part passes.

    Returns:
        The errors, the false alarms first, each with the highest score first. `type` is "false_alarm" or "miss", `kind`
        one of `ALARMS` or `MISSES`; `image_id` and `file_name` say where. Of a false alarm `class`, `score` and `bbox`
        (x y w h in pixels) are the detection's, and `other_class` and `other_bbox` those of the object that it is
        about, with `iou`; of a miss `class` and `bbox` are the object's, and the others, with `score`, those of the
        detection that came closest, whatever its score. What there is none of is None, such an `iou` 0. And the
        number of objects that were found.
    """
    alarms, misses, right = [], [], 0
    for matches in images:
        kinds, about = sort_alarms(matches)
        rejecting, holding = (
            np.array([entry["score"] >= at[entry["category_id"]] for entry in matches.found], dtype=bool)
            for at in (thresholds, passing_below)
        )
        for detection in np.flatnonzero(rejecting & (kinds >= 0)).tolist():
            entry = matches.found[detection]
            target = matches.objects[about[detection]] if about[detection] >= 0 else None
            iou = matches.ious[detection, about[detection]] if target else 0.0
            alarms.append(
                _error("false_alarm", ALARMS[kinds[detection]], matches, entry, target, entry["score"], iou, names)
            )
        for position, target in enumerate(matches.objects):
            finder = matches.match_of[position]
            if finder >= 0 and holding[finder]:
                right += 1
                continue
            kind, closest = _miss(matches, position, holding, kinds, about)
            entry = matches.found[closest] if closest >= 0 else None
            iou = matches.ious[closest, position] if entry else 0.0
            score = entry["score"] if entry else None
            misses.append(_error("miss", kind, matches, target, entry, score, iou, names))
    ordered = [sorted(part, key=lambda error: -(error["score"] or 0)) for part in (alarms, misses)]
    return [*ordered[0], *ordered[1]], right


def _miss(
    matches: ImageMatches, position: int, holding: np.ndarray, kinds: np.ndarray, about: np.ndarray
) -> tuple[str, int]:
    """Give the kind of a miss, and the detection that came closest; -1 where none did."""
    on_it = holding & (about == position)
    for kind in (_WRONG_CLASS, _BADLY_PLACED):
        if len(found := np.flatnonzero(on_it & (kinds == kind))):
            return ALARMS[kind], int(found[0])  # the highest score
    if matches.match_of[position] >= 0:
        return "below_threshold", int(matches.match_of[position])
    near = np.where(holding, matches.ious[:, position], 0) if len(holding) else np.zeros(0)
    return "not_found", int(near.argmax()) if len(near) and near.max() >= BACKGROUND_IOU else -1


def _error(
    type_: str,
    kind: str,
    matches: ImageMatches,
    entry: Entry,
    other: Entry | None,
    score: float | None,
    iou: float,
    names: Mapping[int, str],
) -> dict[str, Any]:
    return {
        "type": type_,
        "kind": kind,
        "image_id": matches.image["id"],
        "file_name": matches.image["file_name"],
        "class": names[entry["category_id"]],
        "score": score,
        "iou": round(float(iou), 4),
        "bbox": list(entry["bbox"]),
        "other_class": names[other["category_id"]] if other else None,
        "other_bbox": list(other["bbox"]) if other else None,
    }
