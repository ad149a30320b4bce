"""The order of training images where each batch has a shape of its own (`--rect`)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from moat_det.data.loader.dataset import DetectionDataset


class RectangleSampler(Sampler[int]):
    """Draws an order for each epoch in which the images of a batch still share a shape.

    Images change places with those whose batch has the same shape, then batches with one another. The last batch, which
    may be smaller, stays the last, so that cutting the order into batches gives these.

    Args:
        dataset: Whose batches, `seed` and `epoch` it follows.
    """

    def __init__(self, dataset: DetectionDataset) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        """Images."""
        return len(self._dataset)

    def __iter__(self) -> Iterator[int]:
        """Give the images' positions, in the order of the dataset's epoch."""
        batches = self._dataset.batches
        random = np.random.default_rng([self._dataset.seed, self._dataset.epoch])
        _, group_of_batch = np.unique([batch.shape for batch in batches], axis=0, return_inverse=True)
        batch_of = np.repeat(np.arange(len(batches)), [len(batch.images) for batch in batches])
        group = group_of_batch.reshape(-1)[batch_of]
        order = np.empty(len(self), int)
        for number in np.unique(group):
            places = np.flatnonzero(group == number)
            order[places] = random.permutation(places)
        last = len(batches) - 1
        for number in [*random.permutation(last).tolist(), last]:
            yield from order[batch_of == number].tolist()
