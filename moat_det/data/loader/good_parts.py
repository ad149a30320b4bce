"""Training where many parts are good: objects in every batch, and other good parts in every epoch."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

MOST_GOOD = 0.5
"""The share of good parts that an epoch has at most where nobody says another (docs/results.md)."""


class GoodParts:
    """Chooses the images of an epoch: every one with objects, and as many good parts as make up a share of it.

    The good parts take turns: none comes again before all have come.

    Args:
        labels: Of the images, `cls` (N, 1) each.
        share: Of good parts in an epoch, in [0, 1); None for that of the data, but at most `MOST_GOOD`. Where the data
            has fewer, all of them come.
        seed: With the epoch it decides the order.

    Attributes:
        good: How many good parts there are.
        drawn: How many of them come in an epoch.
    """

    def __init__(self, labels: Sequence[dict[str, Any]], share: float | None, seed: int) -> None:
        empty = np.array([len(label["cls"]) == 0 for label in labels], bool)
        self._good, self._others, self._seed = np.flatnonzero(empty), np.flatnonzero(~empty), seed
        self.good = len(self._good)
        share = min(self.good / len(labels), MOST_GOOD) if share is None else share
        self.drawn = min(self.good, round(len(self._others) * share / (1 - share)))

    def __len__(self) -> int:
        """Images of an epoch."""
        return len(self._others) + self.drawn

    def order(self, epoch: int) -> list[int]:
        """Give the images of an epoch; both kinds are spread evenly, so that each batch has its part of either."""
        generator = np.random.default_rng([self._seed, epoch])
        kinds = (generator.permutation(self._others), generator.permutation(self._turn(epoch)))
        places = [(np.arange(len(kind)) + generator.random(len(kind))) / max(len(kind), 1) for kind in kinds]
        images: list[int] = np.concatenate(kinds)[np.argsort(np.concatenate(places), kind="stable")].tolist()
        return images

    def partner(self) -> int:
        """Draw an image to mix into another, by `random`: a good part as often as an epoch has one."""
        good = random.random() * len(self) < self.drawn
        return int(random.choice(self._good if good else self._others))

    def _turn(self, epoch: int) -> np.ndarray:
        """Give the good parts whose turn it is, of one round through all of them after another."""
        if not self.drawn:
            return self._good[:0]
        start, count = epoch * self.drawn, self.good
        rounds = range(start // count, (start + self.drawn - 1) // count + 1)
        # No epoch has a seed of three numbers.
        orders = [np.random.default_rng([self._seed, 0, number]).permutation(self._good) for number in rounds]
        return np.concatenate(orders)[start % count :][: self.drawn]


def expected_objects(labels: Sequence[dict[str, Any]], classes: int, images: int) -> list[float]:
    """Give how many objects of each class (classes,) an image of an epoch has in the mean.

    Args:
        labels: Of the images, `cls` (N, 1) each.
        classes: How many there are.
        images: Of an epoch.

    Returns:
        Above 0: a class without an object counts as half of one.
    """
    counts = np.bincount(np.concatenate([label["cls"][:, 0] for label in labels]).astype(int), minlength=classes)
    expected: list[float] = (np.maximum(counts, 0.5) / images).tolist()
    return expected
