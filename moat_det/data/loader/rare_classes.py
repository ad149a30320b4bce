"""Images with objects of rare classes more than once in an epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def repeat_factors(labels: Sequence[dict[str, Any]], threshold: float) -> np.ndarray:
    """Give how often each image comes in an epoch in the mean (N,): 1, or more where it has an object of a rare class.

    A class that a share f of the images has counts max(1, sqrt(threshold / f)), an image what its rarest class does.
    The share is that of the images with objects, so that good parts make no class rare.

    Args:
        labels: Of the images, `cls` (N, 1) each.
        threshold: The share of the images below which a class is rare.

    Source: Gupta et al., LVIS: A Dataset for Large Vocabulary Instance Segmentation, CVPR 2019 (repeat factors).
    """
    classes = [np.unique(label["cls"]).astype(int) for label in labels]
    images = np.bincount(np.concatenate(classes))
    with_objects = sum(len(found) > 0 for found in classes)
    factors = np.sqrt(np.maximum(threshold * with_objects / np.maximum(images, 1), 1))
    return np.array([factors[found].max(initial=1.0) for found in classes])


def repeat(images: np.ndarray, factors: np.ndarray, positions: int, generator: np.random.Generator) -> np.ndarray:
    """Draw how often each image comes in one epoch: its factor rounded down or up, so that the mean is the factor.

    Args:
        images: Their positions.
        factors: Of each image, 1 or more.
        positions: How many there are in all.
        generator: Draws which factors are rounded up.

    Returns:
        As many positions as `repeated_length` says; the n-th repetition of an image is its position and n times
        `positions`, so that its augmentation is another one.
    """
    order = generator.permutation(len(images))
    edges = np.cumsum(factors[order])
    edges *= repeated_length(factors) / edges[-1]
    edges[-1] = repeated_length(factors)
    counts = np.diff(np.floor(np.concatenate([[0.0], edges]) + generator.random())).astype(int)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(images[order], counts) + positions * (np.arange(counts.sum()) - starts)


def repeated_length(factors: np.ndarray) -> int:
    """Give how many images an epoch has of those with these factors; none of them is left out."""
    return math.ceil(factors.sum())
