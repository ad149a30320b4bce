"""Which images an epoch takes: objects in every batch, and where many parts are good, other ones in every epoch."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from moat_det.data.loader.rare_classes import repeat, repeat_factors, repeated_length

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
        rare: The share of the images with objects below which a class is rare: images that have it come more than once
            (see `repeat_factors`). 0 is off.

    Attributes:
        good: How many good parts there are.
        drawn: How many of them come in an epoch.
        with_objects: How many images with objects come in an epoch, each time counted.
        repeats: How often each image (N,) comes in an epoch in which it comes, in the mean; None where each comes once.
    """

    def __init__(self, labels: Sequence[dict[str, Any]], share: float | None, seed: int, rare: float = 0.0) -> None:
        empty = np.array([len(label["cls"]) == 0 for label in labels], bool)
        self._good, self._others, self._seed = np.flatnonzero(empty), np.flatnonzero(~empty), seed
        self.good, factors = len(self._good), repeat_factors(labels, rare)
        self.repeats: np.ndarray | None = factors if factors.max() > 1 else None
        self.with_objects = repeated_length(factors[self._others])
        self._often = factors[self._others].cumsum().tolist()
        share = min(self.good / len(labels), MOST_GOOD) if share is None else share
        self.drawn = min(self.good, round(self.with_objects * share / (1 - share)))

    @property
    def takes_all_once(self) -> bool:
        """Whether an epoch is every image, once."""
        return self.repeats is None and self.drawn == self.good

    def __len__(self) -> int:
        """Images of an epoch."""
        return self.with_objects + self.drawn

    def order(self, epoch: int) -> list[int]:
        """Give the images of an epoch; both kinds are spread evenly, so that each batch has its part of either.

        An image that comes again has a position past the last one (see `repeat`).
        """
        generator = np.random.default_rng([self._seed, epoch])
        others = self._others
        if self.repeats is not None:
            others = repeat(others, self.repeats[others], len(self.repeats), generator)
        kinds = (generator.permutation(others), generator.permutation(self._turn(epoch)))
        places = [(np.arange(len(kind)) + generator.random(len(kind))) / max(len(kind), 1) for kind in kinds]
        images: list[int] = np.concatenate(kinds)[np.argsort(np.concatenate(places), kind="stable")].tolist()
        return images

    def partner(self) -> int:
        """Draw an image to mix into another, by `random`: each as often as an epoch has it."""
        good = random.random() * len(self) < self.drawn
        if good or self.repeats is None:
            return int(random.choice(self._good if good else self._others))
        return int(random.choices(self._others, cum_weights=self._often)[0])

    def _turn(self, epoch: int) -> np.ndarray:
        """Give the good parts whose turn it is, of one round through all of them after another."""
        if not self.drawn:
            return self._good[:0]
        start, count = epoch * self.drawn, self.good
        rounds = range(start // count, (start + self.drawn - 1) // count + 1)
        # No epoch has a seed of three numbers.
        orders = [np.random.default_rng([self._seed, 0, number]).permutation(self._good) for number in rounds]
        return np.concatenate(orders)[start % count :][: self.drawn]


def expected_objects(
    labels: Sequence[dict[str, Any]], classes: int, images: int, repeats: np.ndarray | None = None
) -> list[float]:
    """Give how many objects of each class (classes,) an image of an epoch has in the mean.

    Args:
        labels: Of the images, `cls` (N, 1) each.
        classes: How many there are.
        images: Of an epoch.
        repeats: How often each image with objects comes in it; None for once.

    Returns:
        Above 0: a class without an object counts as half of one.
    """
    found = [label["cls"][:, 0] for label in labels]
    weights = None if repeats is None else np.repeat(repeats, [len(each) for each in found])
    counts = np.bincount(np.concatenate(found).astype(int), weights, minlength=classes)
    expected: list[float] = (np.maximum(counts, 0.5) / images).tolist()
    return expected
