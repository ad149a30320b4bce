"""Batches of pictures; what is random in them depends on seed, epoch and picture alone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from moat_det.data.images.intensity import Intensity
from moat_det.data.images.read import read_input
from moat_det.data.loader.loader import start_worker
from moat_det.data.seeds import image_seed, seeded
from moat_det.errors import UserError
from moat_det.pretraining.classification.folders import Pictures

logger = logging.getLogger(__name__)


class PictureDataset(Dataset[Any]):
    """Pictures by (epoch, number).

    Args:
        pictures: Files and classes.
        intensity: How more than 8 bits become 8.
        transform: Makes the model's input of a picture (H, W, 3), uint8, BGR; may draw from the global generators.
        seed: Of the training.
    """

    def __init__(
        self, pictures: Pictures, intensity: Intensity, transform: Callable[[np.ndarray], Tensor], seed: int = 0
    ) -> None:
        self.pictures, self._intensity, self._transform, self._seed = pictures, intensity, transform, seed

    def __len__(self) -> int:
        """Pictures."""
        return len(self.pictures)

    def __getitem__(self, draw: tuple[int, int]) -> tuple[Tensor, int] | None:
        """Give input and class of a picture in an epoch; None where it is broken, which is said."""
        epoch, number = draw
        file, label = self.pictures[number]
        try:
            picture = read_input(file, self._intensity)
        except (OSError, UserError) as error:
            logger.warning(f"{file}: left out: {str(error).removeprefix(f'{file}: ')}")
            return None
        with seeded(image_seed(self._seed, epoch, number)):
            return self._transform(picture), label


def load_batches(
    dataset: PictureDataset, batches: list[list[tuple[int, int]]], workers: int, device: torch.device
) -> DataLoader[Any]:
    """Read batches, each a list of (epoch, number).

    Returns:
        Images (B, 3, S, S), uint8, and classes (B,) of each; fewer where some are broken, and maybe none.
    """
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=min(workers, len(batches)),
        worker_init_fn=start_worker,
        pin_memory=device.type == "cuda",
        collate_fn=_collate,
        generator=torch.Generator(),  # of its own: starting workers draws from it
    )


def shuffled_batches(pictures: int, batch: int, seed: int, epoch: int) -> list[list[tuple[int, int]]]:
    """Draw the batches of an epoch of training; a last one that is smaller is left out, unless it is the only one."""
    # No picture has this number, so that the order has a seed of its own.
    generator = torch.Generator().manual_seed(image_seed(seed, epoch, pictures))
    order = [(epoch, number) for number in torch.randperm(pictures, generator=generator).tolist()]
    batch = min(batch, pictures)
    return [order[start : start + batch] for start in range(0, pictures - batch + 1, batch)]


def ordered_batches(pictures: int, batch: int) -> list[list[tuple[int, int]]]:
    """Give all pictures in their order."""
    return [
        [(0, number) for number in range(start, min(start + batch, pictures))] for start in range(0, pictures, batch)
    ]


def _collate(samples: list[tuple[Tensor, int] | None]) -> tuple[Tensor, Tensor]:
    whole = [sample for sample in samples if sample is not None]
    images = torch.stack([image for image, _ in whole]) if whole else torch.empty(0, 3, 0, 0, dtype=torch.uint8)
    return images, torch.tensor([label for _, label in whole], dtype=torch.int64)
