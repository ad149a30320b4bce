"""The order of the images where each batch has a shape of its own (`--rect`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import Sampler


class RectangleSampler(Sampler[int]):
    """Draws an order for each epoch in which the images of a batch still share a shape.

    Images change places with those whose batch has the same shape, then batches with one another. The last batch, which
    may be smaller, stays the last, so that cutting the order into batches gives these.

    Args:
        dataset: The `DetectionDataset`, whose `batch`, `batch_shapes`, `seed` and `epoch` it follows.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        """Images."""
        return len(self._dataset)

    def __iter__(self) -> Iterator[int]:
        """Give the images' positions, in the order of the dataset's epoch."""
        dataset = self._dataset
        random = np.random.default_rng([dataset.seed, dataset.epoch])
        _, group_of_batch = np.unique(dataset.batch_shapes, axis=0, return_inverse=True)
        group = group_of_batch.reshape(-1)[dataset.batch]
        order = np.empty(len(self), int)
        for number in np.unique(group):
            places = np.flatnonzero(group == number)
            order[places] = random.permutation(places)
        last = dataset.batch[-1]
        for number in [*random.permutation(last).tolist(), last]:
            yield from order[dataset.batch == number].tolist()
