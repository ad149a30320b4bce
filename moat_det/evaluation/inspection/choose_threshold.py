"""Which threshold keeps a rate below a target, with a promise that holds for the parts that were not seen.

With at least the confidence asked for, over the parts drawn, the true rate at the chosen threshold meets the target.
The thresholds are tested one after another, from the side where the rate is lowest, and the last of those that meet the
target without a break is taken. As the rate moves one way, the first test of a threshold that does not meet it decides
whether the promise breaks: no share of the error is lost to the others (fixed-sequence testing; Angelopoulos et al.,
"Learn then test", 2021), and the same parts may choose and prove.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from moat_det.evaluation.inspection.rates import Rate

_MOST_UNITS = 1_000_000  # more parts than anybody labels


@dataclass(frozen=True)
class Choice:
    """What the parts show of a target.

    Attributes:
        threshold: The one that costs least of those that meet the target; None where none does, or nothing was drawn.
        nearest: The threshold that comes nearest to the target where none meets it; else `threshold`. None where
            nothing was drawn.
        value: The rate at `nearest`, as measured.
        limit: Its upper limit.
        units: How many were drawn of what the rate is of.
        needed: How many would show that `nearest` meets the target, if the others went like these; None where it does,
            or where no number would, as the rate itself is not below the target.
    """

    threshold: float | None
    nearest: float | None
    value: float | None
    limit: float | None
    units: int
    needed: int | None = None


def just_above(score: float) -> float:
    """Give the next score that a detector can say, which is a float32."""
    return float(np.nextafter(np.float32(score), np.float32(2)))


def choose_threshold(rate: Rate, most: float, confidence: float, lowest: float) -> Choice:
    """Choose the threshold that meets a target at the least cost.

    Args:
        rate: To keep low.
        most: The target: what the true rate shall not exceed.
        confidence: The probability, over the parts drawn, with which it shall not.
        lowest: The lowest threshold there may be: below it nothing was looked for.
    """
    if not rate.units:
        return Choice(None, None, None, None, 0)
    chosen = None
    for threshold in _safest_first(rate, lowest):
        if rate.limit(threshold, confidence) > most:
            break
        chosen = threshold
    nearest = next(_safest_first(rate, lowest)) if chosen is None else chosen
    value, limit = rate.value(nearest), rate.limit(nearest, confidence)
    needed = _needed(rate, nearest, most, confidence) if chosen is None else None
    return Choice(chosen, nearest, value, limit, rate.units, needed)


def _safest_first(rate: Rate, lowest: float) -> Iterator[float]:
    """Give the thresholds between which the rate does not change, from where it is lowest to where it is highest."""
    scores = np.unique(rate.scores[rate.scores > 0])
    if rate.rises:
        yield lowest
        yield from scores[scores > lowest].tolist()
    else:
        yield from (just_above(score) for score in scores[::-1].tolist() if score >= lowest)
        yield lowest


def _needed(rate: Rate, threshold: float, most: float, confidence: float) -> int | None:
    """Give how many units, alike to those drawn, would show that the rate is not above `most`."""
    if rate.value(threshold) >= most:
        return None
    low, high = rate.units, 2 * rate.units
    while rate.limit(threshold, confidence, high) > most:
        low, high = high, 2 * high
        if high > _MOST_UNITS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if rate.limit(threshold, confidence, middle) <= most else (middle, high)
    return high
