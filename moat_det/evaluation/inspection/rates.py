"""Rates that a target keeps low, each as the threshold moves it: of parts, of boxes, of images.

A detection counts where its score reaches the threshold. What is missed becomes more as the threshold rises, and false
alarms become fewer: each of these rates moves one way only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from moat_det.evaluation.inspection.intervals import (
    Interval,
    clustered_interval,
    count_interval,
    exact_interval,
    upper_limit,
)


class Rate(Protocol):
    """A rate that shall be low, which rises or falls with the threshold and does nothing else."""

    @property
    def unit(self) -> str:
        """What is drawn by chance, in the plural."""

    @property
    def rises(self) -> bool:
        """Whether it rises with the threshold."""

    @property
    def scores(self) -> np.ndarray:
        """Those at which the rate changes; 0 for what no threshold finds."""

    @property
    def units(self) -> int:
        """How many were drawn; without one there is nothing to measure."""

    def value(self, threshold: float) -> float:
        """Give the rate as measured."""

    def limit(self, threshold: float, confidence: float, units: int | None = None) -> float:
        """Give the one-sided upper limit of the true rate.

        Args:
            threshold: The score from which on a detection counts.
            confidence: The probability, over the units drawn, that the true rate is not above the limit.
            units: As if so many had been drawn, and went like those that were; None: those.
        """

    def interval(self, threshold: float, confidence: float) -> Interval | None:
        """Give the rate with its two-sided interval; None where nothing was drawn."""


@dataclass(frozen=True)
class PartRate:
    """The share of parts whose score lies below the threshold, or is at least the threshold.

    The limit is exact (Clopper and Pearson 1934).

    Attributes:
        unit: The parts that it is of, such as "defective parts".
        scores: (N,) of those parts that can count.
        rises: Count those below the threshold instead of those from it on.
        others: How many parts of its kind can never count.
    """

    unit: str
    scores: np.ndarray
    rises: bool
    others: int = 0

    @property
    def units(self) -> int:
        """How many parts there are of its kind."""
        return len(self.scores) + self.others

    @cached_property
    def _sorted(self) -> np.ndarray:
        return np.sort(self.scores)

    def events(self, threshold: float) -> int:
        """Count the parts."""
        below = int(np.searchsorted(self._sorted, threshold))
        return below if self.rises else len(self.scores) - below

    def value(self, threshold: float) -> float:
        """Give the share in [0, 1]."""
        return self.events(threshold) / self.units

    def limit(self, threshold: float, confidence: float, units: int | None = None) -> float:
        """Give the exact upper limit of the share in [0, 1]."""
        trials = self.units if units is None else units
        return upper_limit(self.events(threshold) * trials / self.units, trials, confidence)

    def interval(self, threshold: float, confidence: float) -> Interval | None:
        """Give the share with its exact interval."""
        return exact_interval(self.events(threshold), self.units, confidence) if self.units else None


@dataclass(frozen=True)
class MissedBoxes:
    """The share of boxes that no detection finds from the threshold on: 1 - recall.

    Several boxes of a part are not independent: the parts are what is drawn, and the limit is that at the effective
    number of boxes (Korn and Graubard 1998).

    Attributes:
        scores: (N,) of the detection that finds each box; 0 or less where none does.
        parts: (N,) the part that each box is on.
    """

    scores: np.ndarray
    parts: np.ndarray

    unit = "parts with boxes"
    rises = True

    @cached_property
    def _clusters(self) -> tuple[np.ndarray, np.ndarray]:
        """Which cluster each box is in, and how many boxes each has."""
        _, own, boxes = np.unique(self.parts, return_inverse=True, return_counts=True)
        return own, boxes

    @property
    def units(self) -> int:
        """How many parts have a box."""
        return len(self._clusters[1])

    def value(self, threshold: float) -> float:
        """Give the share in [0, 1]."""
        return float((self.scores < threshold).mean())

    def limit(self, threshold: float, confidence: float, units: int | None = None) -> float:
        """Give the upper limit of the share in [0, 1]."""
        return self._interval(threshold, 2 * confidence - 1, units).high

    def interval(self, threshold: float, confidence: float) -> Interval | None:
        """Give the share with its interval."""
        return self._interval(threshold, confidence) if self.units else None

    def _interval(self, threshold: float, confidence: float, units: int | None = None) -> Interval:
        own, boxes = self._clusters
        missed = np.bincount(own, self.scores < threshold, minlength=len(boxes))
        if units is not None:
            missed, boxes = np.resize(missed, units), np.resize(boxes, units)
        found = clustered_interval(missed, boxes, confidence)
        assert found is not None
        return found


@dataclass(frozen=True)
class FalseAlarms:
    """False alarms per image, over all images: detections from the threshold on that find no box.

    The limit is Poisson's, with the dispersion over the parts (see `count_interval`).

    Attributes:
        scores: (N,) of the detections that find no box.
        parts: (N,) the part that each is on.
        images: (P,) how many images each part has.
    """

    scores: np.ndarray
    parts: np.ndarray
    images: np.ndarray

    unit = "parts"
    rises = False

    @property
    def units(self) -> int:
        """How many parts there are."""
        return len(self.images)

    @cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """Scores that rise, and the part of each."""
        order = np.argsort(self.scores, kind="stable")
        return self.scores[order], self.parts[order]

    def _alarms(self, threshold: float) -> np.ndarray:
        """Give the part of each false alarm."""
        scores, parts = self._sorted
        return parts[np.searchsorted(scores, threshold) :]

    def value(self, threshold: float) -> float:
        """Give the number per image."""
        return len(self._alarms(threshold)) / float(self.images.sum())

    def limit(self, threshold: float, confidence: float, units: int | None = None) -> float:
        """Give the upper limit of the number per image."""
        return self._interval(threshold, 2 * confidence - 1, units).high

    def interval(self, threshold: float, confidence: float) -> Interval | None:
        """Give the number per image with its interval."""
        return self._interval(threshold, confidence) if self.units else None

    def _interval(self, threshold: float, confidence: float, units: int | None = None) -> Interval:
        counts, images = np.bincount(self._alarms(threshold), minlength=self.units), self.images
        if units is not None:
            counts, images = np.resize(counts, units), np.resize(images, units)
        found = count_interval(counts, images, confidence)
        assert found is not None
        return found
