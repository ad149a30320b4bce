"""Figures of parts: what escapes, what is rejected without need, and how well scores tell the two kinds apart.

A part is rejected where its score reaches the threshold, looked at where it reaches that of a review alone, and else it
passes. Escape is the share of the defective parts that pass, overkill that of the good parts that are rejected.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata, t
from sklearn.metrics import roc_curve

from moat_det.evaluation.inspection.intervals import CONFIDENCE, Interval, exact_interval
from moat_det.evaluation.inspection.parts import Parts


def escape(parts: Parts, threshold: float, confidence: float = CONFIDENCE) -> Interval | None:
    """Give escape at a threshold with its exact interval; None without a defective part."""
    scores = parts.scores[parts.defective]
    return exact_interval(int((scores < threshold).sum()), len(scores), confidence)


def overkill(parts: Parts, threshold: float, confidence: float = CONFIDENCE) -> Interval | None:
    """Give overkill at a threshold with its exact interval; None without a good part."""
    scores = parts.scores[~parts.defective]
    return exact_interval(int((scores >= threshold).sum()), len(scores), confidence)


def reviewed(parts: Parts, threshold: float, review: float, confidence: float = CONFIDENCE) -> Interval | None:
    """Give the share of all parts that are looked at, with its exact interval; None without a part."""
    between = (parts.scores >= review) & (parts.scores < threshold)
    return exact_interval(int(between.sum()), len(parts), confidence)


def zero_escape_threshold(parts: Parts) -> float | None:
    """Give the highest threshold at which no defective part of these escapes; None without one."""
    return float(parts.scores[parts.defective].min()) if parts.defective.any() else None


def overkill_at_zero_escape(parts: Parts, confidence: float = CONFIDENCE) -> Interval | None:
    """Give overkill at `zero_escape_threshold`; None without a defective or without a good part.

    The interval is exact for that threshold, which the defective parts chose and the good ones had no part in. It says
    nothing of how many defective parts of another sample would escape there.
    """
    threshold = zero_escape_threshold(parts)
    return None if threshold is None else overkill(parts, threshold, confidence)


@dataclass(frozen=True)
class Roc:
    """Escape against overkill at each threshold at which one of them changes, from the highest threshold on.

    Attributes:
        thresholds: (N,) the first is infinite: nothing is rejected.
        escape: (N,) from 1 to 0.
        overkill: (N,) from 0 to 1.
    """

    thresholds: np.ndarray
    escape: np.ndarray
    overkill: np.ndarray


def roc(parts: Parts) -> Roc | None:
    """Give the curve of the receiver operating characteristic; None without a defective or without a good part."""
    if not has_both(parts):
        return None
    rejected_good, rejected_bad, thresholds = roc_curve(parts.defective, parts.scores)
    return Roc(thresholds, 1 - rejected_bad, rejected_good)


def auroc(parts: Parts, confidence: float = CONFIDENCE) -> Interval | None:
    """Give the area under the ROC curve and its interval; None without a defective or without a good part.

    It is the probability that a defective part has a higher score than a good one, equal scores half counted. The
    interval is the exact one of a rate at the effective number of parts, that of a rate which varies as much: from the
    variance by DeLong, DeLong and Clarke-Pearson (1988), lowered for few parts. Of m defective and n good parts it is
    at most 4 m n / (m + n), which is m + n for as many of both; where the scores part them wholly, it is the smaller of
    m and n, so many pairs being independent. A bootstrap would give [1, 1] there, and covers too little near it.
    """
    if not has_both(parts):
        return None
    bad, good = parts.scores[parts.defective], parts.scores[~parts.defective]
    ranks = rankdata(parts.scores)
    # Of each part, the share of the other kind that it stands right to.
    bad_right = (ranks[parts.defective] - rankdata(bad)) / len(good)
    good_right = 1 - (ranks[~parts.defective] - rankdata(good)) / len(bad)
    value, fewer = float(bad_right.mean()), min(len(bad), len(good))
    effective = float(fewer)
    if 0 < value < 1 and fewer > 1:
        variance = bad_right.var(ddof=1) / len(bad) + good_right.var(ddof=1) / len(good)
        tail = (1 + confidence) / 2
        few = float(norm.ppf(tail) / t.ppf(tail, fewer - 1)) ** 2
        most = 4 * len(bad) * len(good) / (len(bad) + len(good))
        effective = min(most, few * value * (1 - value) / variance) if variance > 0 else effective
    found = exact_interval(value * effective, effective, confidence)
    assert found is not None
    return Interval(value, found.low, found.high)


def has_both(parts: Parts) -> bool:
    """Whether there are defective and good parts."""
    return bool(parts.defective.any() and not parts.defective.all())
