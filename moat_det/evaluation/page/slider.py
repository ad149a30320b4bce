"""What the threshold slider looks up: sorted scores, and the exact interval of every rate that they can give.

The browser counts and looks up; all statistics are done here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from moat_det.evaluation.inspection.froc import Alarms
from moat_det.evaluation.inspection.intervals import exact_interval
from moat_det.evaluation.inspection.parts import Parts

_LEAST = 0.01
"""False alarms below it are left out, where no threshold is lower: they are many, and would fill the page."""


def slider_data(parts: Parts, alarms: Alarms, reject: float, review: float, confidence: float) -> dict[str, Any]:
    """Give the data of the slider.

    Args:
        parts: What is inspected.
        alarms: The detections of all classes, from `gather`.
        reject: The threshold at first.
        review: That from which on a part is looked at, at first.
        confidence: Of the intervals.
    """
    least = min(_LEAST, reject, review)
    wrong = alarms.scores[alarms.wrong]
    bad, good = parts.scores[parts.defective], parts.scores[~parts.defective]
    found = alarms.found_at[alarms.found_at >= least]
    return {
        "reject": reject,
        "review": review,
        "least": least,
        "bad": np.sort(bad).tolist(),
        "good": np.sort(good).tolist(),
        "found": np.sort(found).tolist(),
        "alarms": np.sort(wrong[wrong >= least]).tolist(),
        "objects": len(alarms.objects),
        "images": len(parts.of_image),
        "limits": {
            "escape": _limits(len(bad), confidence),
            "overkill": _limits(len(good), confidence),
            "parts": _limits(len(parts), confidence),
        },
    }


def _limits(trials: int, confidence: float) -> list[tuple[float, float]]:
    """Give the ends of the interval of each number of events, from 0 to all."""
    intervals = [exact_interval(events, trials, confidence) for events in range(trials + 1)]
    return [(each.low, each.high) for each in intervals if each is not None]


def start(inspection: Mapping[str, Any], point: Mapping[str, Any] | None) -> tuple[float, float]:
    """Give the thresholds, reject and review, at which the page opens: the operating point's where there is one."""
    reject = float((point or {}).get("threshold") or inspection["threshold"])
    review = (point or {}).get("review")
    return reject, reject if review is None else float(review)
