"""The order of training images where all batches have one shape."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from moat_det.data.loader.dataset import DetectionDataset
from moat_det.data.seeds import image_seed


class ShuffledSampler(Sampler[int]):
    """Draws an order for each epoch: of all images, or of those that the dataset's `good_parts` choose.

    Args:
        dataset: Whose `seed` and `epoch` it follows.
    """

    def __init__(self, dataset: DetectionDataset) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        """Images."""
        chosen = self._dataset.good_parts
        return len(self._dataset) if chosen is None else len(chosen)

    def __iter__(self) -> Iterator[int]:
        """Give the images' positions, in the order of the dataset's epoch."""
        if self._dataset.good_parts is not None:
            yield from self._dataset.good_parts.order(self._dataset.epoch)
            return
        # No image has this number, so that the order has a seed of its own.
        seed = image_seed(self._dataset.seed, self._dataset.epoch, len(self))
        yield from torch.randperm(len(self), generator=torch.Generator().manual_seed(seed)).tolist()
