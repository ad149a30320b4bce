"""Calibration: how often a detection of some score is right, and what makes of scores the probabilities that say so.

Thresholds are on raw scores; the calibration changes only the probability that is shown. A temperature alone moves no
score past one half, and detectors are right far more often than their scores say: a bias goes with it, so that it is
logistic calibration (Platt 1999; of detections Kueppers et al. 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import logit

from moat_det.evaluation.inspection.box_matches import ClassMatches
from moat_det.evaluation.inspection.intervals import CONFIDENCE, Interval, clustered_interval
from moat_det.evaluation.inspection.parts import Parts
from moat_det.evaluation.inspection.shown_probability import EXTREME, calibrated

LEAST_SCORE = 0.05
"""Detections below it are left out: nobody sees them, and they are so many that they would drown the others."""

_BINS = 10
_LEAST_HALF = 20  # detections, of each half: fewer tell nothing
_TEMPERATURES = (0.05, 20.0)
_BIASES = (-20.0, 20.0)


@dataclass(frozen=True)
class Bin:
    """The detections of a range of probabilities.

    Attributes:
        low: Where the range begins.
        high: Where it ends.
        detections: How many there are.
        probability: What is said of them, their mean.
        right: The share that is right, with the interval by the effective number over the parts.
    """

    low: float
    high: float
    detections: int
    probability: float
    right: Interval


@dataclass(frozen=True)
class Calibration:
    """The temperature and bias that one half of the parts gave, and what they do on the other.

    Attributes:
        temperature: Divides the logit of a score; above 1 where high scores and low ones are too far apart.
        bias: Is added to it; above 0 where detections are right more often than their scores say.
        ece_before: Expected calibration error of the scores on the other half: the mean difference between what is said
            and the share that is right, over the ranges, by their number of detections.
        ece_after: The same of the probabilities.
        before: The ranges of the scores that are not empty, of the other half.
        after: Those of the probabilities.
        fitted_on: Detections of the half that gave the temperature.
        shown_on: Detections of the other.
    """

    temperature: float
    bias: float
    ece_before: float
    ece_after: float
    before: tuple[Bin, ...]
    after: tuple[Bin, ...]
    fitted_on: int
    shown_on: int


def calibrate(
    matches: Sequence[ClassMatches], parts: Parts, confidence: float = CONFIDENCE, seed: int = 0
) -> Calibration | None:
    """Fit temperature and bias on the detections of a half of the parts, and measure them on the other.

    A detection is right where it finds an object of its class at the first overlap of the matches. The probabilities
    hold for parts among which defects are as frequent as here.

    Args:
        matches: From `match_boxes`, at IoU 0.5.
        parts: Of the same files; which of them fit is drawn.
        confidence: Of the intervals of the ranges.
        seed: Of the draw.

    Returns:
        None where a half has fewer than 20 detections of `LEAST_SCORE` and above, or right ones alone, or wrong ones
        alone: nothing could be fitted.
    """
    part_of = np.array(list(parts.of_image.values()), dtype=int)
    chosen = [(each.right[0] | each.wrong[0]) & (each.scores >= LEAST_SCORE) for each in matches]
    scores = np.concatenate([np.zeros(0), *(each.scores[own] for each, own in zip(matches, chosen, strict=True))])
    right = np.concatenate(
        [np.zeros(0, dtype=bool), *(each.right[0][own] for each, own in zip(matches, chosen, strict=True))]
    )
    images = [each.images[own] for each, own in zip(matches, chosen, strict=True)]
    owners = part_of[np.concatenate([np.zeros(0, dtype=int), *images])]
    fits = np.zeros(len(parts), dtype=bool)
    fits[np.random.default_rng(seed).permutation(len(parts))[: len(parts) // 2]] = True
    half = fits[owners]
    for of_half in (right[half], right[~half]):
        if len(of_half) < _LEAST_HALF or of_half.all() or not of_half.any():
            return None
    temperature, bias = _fit(scores[half], right[half])
    scores, right, owners = scores[~half], right[~half], owners[~half]
    before = _bins(scores, right, owners, len(parts), confidence)
    after = _bins(calibrated(scores, temperature, bias), right, owners, len(parts), confidence)
    return Calibration(temperature, bias, _ece(before), _ece(after), before, after, int(half.sum()), len(scores))


def _fit(scores: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Give the temperature and the bias at which the detections are likeliest."""
    logits, signs = logit(np.clip(scores, EXTREME, 1 - EXTREME)), np.where(right, 1, -1)

    def surprise(chosen: np.ndarray) -> float:
        return float(np.logaddexp(0, -signs * (logits * np.exp(-chosen[0]) + chosen[1])).mean())

    bounds = [tuple(np.log(_TEMPERATURES)), _BIASES]
    log_temperature, bias = minimize(surprise, np.zeros(2), method="L-BFGS-B", bounds=bounds).x
    return float(np.exp(log_temperature)), float(bias)


def _bins(said: np.ndarray, right: np.ndarray, owners: np.ndarray, parts: int, confidence: float) -> tuple[Bin, ...]:
    place = np.minimum((said * _BINS).astype(int), _BINS - 1)
    bins = []
    for number in range(_BINS):
        own = place == number
        hits = np.bincount(owners[own & right], minlength=parts)
        share = clustered_interval(hits, np.bincount(owners[own], minlength=parts), confidence)
        if share is not None:
            low, high = number / _BINS, (number + 1) / _BINS
            bins.append(Bin(low, high, int(own.sum()), float(said[own].mean()), share))
    return tuple(bins)


def _ece(bins: Sequence[Bin]) -> float:
    total = sum(each.detections for each in bins)
    return sum(each.detections / total * abs(each.probability - each.right.value) for each in bins)
