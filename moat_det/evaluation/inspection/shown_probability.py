"""The probability that is shown for a score, by the calibration of an operating point. Needs NumPy alone."""

from __future__ import annotations

import numpy as np

EXTREME = 1e-6
"""Scores of 0 and 1 have no finite logit: they are taken to be so far from them."""


def calibrated(scores: np.ndarray, temperature: float, bias: float) -> np.ndarray:
    """Give the probabilities that are shown for scores, in [0, 1]; that of a score of 0, of no detection, is 0."""
    scores = np.asarray(scores, dtype=float)
    odds = np.clip(scores, EXTREME, 1 - EXTREME)
    shown = 1 / (1 + np.exp(-(np.log(odds / (1 - odds)) / temperature + bias)))
    return np.where(scores > 0, shown, 0.0)
