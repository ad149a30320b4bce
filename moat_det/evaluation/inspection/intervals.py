"""Intervals of rates, counts and resampled figures: how far what was measured on these parts may lie from the truth.

Two-sided intervals leave out (1 - confidence) / 2 at each end; one-sided limits all of 1 - confidence at theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import beta, chi2, t

from moat_det.evaluation.inspection.targets import CONFIDENCE

RESAMPLES = 1000
"""So many give the ends of a 95 % interval to about a twentieth of its width."""


class Interval(NamedTuple):
    """A figure and its interval.

    Attributes:
        value: As measured.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float


def upper_limit(events: float, trials: float, confidence: float = CONFIDENCE) -> float:
    """Give the exact one-sided upper limit of a rate (Clopper and Pearson 1934).

    Args:
        events: How often it happened, 0 to `trials`; no whole number where `trials` is an effective one.
        trials: How often it could have happened, above 0.
        confidence: The probability, over the samples drawn, that the true rate is not above the limit, at least.
    """
    return 1.0 if events >= trials else float(beta.ppf(confidence, events + 1, trials - events))


def lower_limit(events: float, trials: float, confidence: float = CONFIDENCE) -> float:
    """Give the exact one-sided lower limit of a rate; see `upper_limit`."""
    return 0.0 if events <= 0 else float(beta.ppf(1 - confidence, events, trials - events + 1))


def exact_interval(events: float, trials: float, confidence: float = CONFIDENCE) -> Interval | None:
    """Give a rate and its exact interval (Clopper and Pearson 1934); None without a trial.

    Args:
        events: How often it happened, 0 to `trials`.
        trials: How often it could have happened, independently.
        confidence: The least probability, over the samples drawn, that the interval holds the true rate.
    """
    if trials <= 0:
        return None
    each = (1 + confidence) / 2
    return Interval(events / trials, lower_limit(events, trials, each), upper_limit(events, trials, each))


def clustered_interval(events: np.ndarray, trials: np.ndarray, confidence: float = CONFIDENCE) -> Interval | None:
    """Give a rate of things that come in clusters, such as the boxes of a part, and its interval; None without a trial.

    The exact interval at the effective number of trials (Korn and Graubard 1998): that of independent trials whose rate
    would vary as much as the clusters do, lowered for few clusters, and never above the true number. A rate of 0 or 1
    tells nothing of how they vary: then each cluster counts as one trial, as if all in it went the same way (Kish).

    Args:
        events: (N,) how often it happened in each cluster.
        trials: (N,) how often it could have happened; clusters without a trial say nothing.
        confidence: The probability, over the clusters drawn, that the interval holds the true rate.
    """
    events, trials = np.asarray(events, dtype=float), np.asarray(trials, dtype=float)
    events, trials = events[trials > 0], trials[trials > 0]
    clusters, total = len(trials), float(trials.sum())
    if not clusters:
        return None
    rate = float(events.sum()) / total
    alone = total**2 / float((trials**2).sum())
    variance = float(((events - rate * trials) ** 2).sum()) * clusters / max(clusters - 1, 1) / total**2
    effective = alone
    if clusters > 1 and 0 < rate < 1 and variance > 0:
        tail = (1 + confidence) / 2
        effective = min(total, rate * (1 - rate) / (variance * _raised(tail, clusters, total)))
    found = exact_interval(rate * effective, effective, confidence)
    assert found is not None
    return Interval(rate, found.low, found.high)


def count_interval(counts: np.ndarray, exposure: np.ndarray, confidence: float = CONFIDENCE) -> Interval | None:
    """Give a number of events per unit, such as false alarms per image, and its interval; None without a unit.

    The exact Poisson interval (Garwood 1936), with the dispersion of the counts over the clusters where they vary more
    than Poisson's (quasi-Poisson), raised for few clusters. Where nothing happened, the dispersion is unknown and taken
    as 1.

    Args:
        counts: (N,) events of each cluster.
        exposure: (N,) units of each cluster, such as images of a part.
        confidence: The probability, over the clusters drawn, that the interval holds the true number.
    """
    counts, exposure = np.asarray(counts, dtype=float), np.asarray(exposure, dtype=float)
    clusters, events, units = len(counts), float(counts.sum()), float(exposure.sum())
    if units <= 0:
        return None
    tail = (1 + confidence) / 2
    dispersion = 1.0
    if events > 0 and clusters > 1:
        variance = float(((counts - events / units * exposure) ** 2).sum()) * clusters / (clusters - 1)
        dispersion = max(1.0, _raised(tail, clusters, np.inf) * variance / events)
    effective = events / dispersion
    low = chi2.ppf(1 - tail, 2 * effective) / 2 if effective > 0 else 0.0
    high = chi2.ppf(tail, 2 * effective + 2) / 2
    return Interval(events / units, float(low) * dispersion / units, float(high) * dispersion / units)


def _raised(tail: float, few: float, many: float) -> float:
    """Give how much larger a variance counts that is of few things, by Student's t."""
    if tail == 0.5:  # both quantiles are 0, and their ratio goes to this
        return float(t.pdf(0, many - 1) / t.pdf(0, few - 1)) ** 2
    return float(t.ppf(tail, few - 1) / t.ppf(tail, many - 1)) ** 2


def resampled(parts: int, resamples: int = RESAMPLES, seed: int = 0, at_once: int = 128) -> Iterator[np.ndarray]:
    """Draw as many parts as there are, with replacement, again and again (Efron 1979).

    Args:
        parts: How many there are.
        resamples: How often to draw.
        seed: Of the draws; the same parts, resamples and seed give the same draws, so that two models can be compared
            on each.
        at_once: How many draws to give at a time.

    Yields:
        (at most `at_once`, parts) int, how often each part was drawn.
    """
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, at_once):
        yield rng.multinomial(parts, np.full(parts, 1 / parts), size=min(at_once, resamples - start))


def cumulated(places: np.ndarray, images: np.ndarray, counts: np.ndarray, length: int) -> np.ndarray:
    """Count things up to each of some places, for splits in which each image lies so many times.

    Args:
        places: (N,) the place of each thing; those at `length` and above are left out.
        images: (N,) the image of each thing.
        counts: (R, images) how often each image is in the split.
        length: How many places there are.

    Returns:
        (R, length) how many things there are at a place and before it.
    """
    kept = places < length
    shape = (length, counts.shape[1])
    things = csr_array((np.ones(int(kept.sum()), dtype=np.int64), (places[kept], images[kept])), shape=shape)
    return (things @ counts.T).cumsum(axis=0).T


def percentile_interval(value: float, figures: np.ndarray, confidence: float = CONFIDENCE) -> Interval | None:
    """Give the interval that the middle of the resampled figures spans; None where none could be computed.

    Args:
        value: The figure as measured.
        figures: (R,) the figure of each resample; NaN where there was none, such as AUROC without a good part.
        confidence: The share of the resamples within.
    """
    figures = figures[np.isfinite(figures)]
    if not len(figures):
        return None
    low, high = np.quantile(figures, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, min(float(low), value), max(float(high), value))
