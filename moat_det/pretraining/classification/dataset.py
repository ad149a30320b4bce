"""The pictures of a classifier and their classes, as the model gets them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from moat_det.data.images.intensity import Intensity
from moat_det.data.images.read import read_input
from moat_det.data.loader.broken import BrokenImages
from moat_det.data.seeds import image_seed, seeded
from moat_det.errors import UserError
from moat_det.pretraining.batches import Draw
from moat_det.pretraining.classification.folders import Pictures


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
        self._broken = BrokenImages(len(pictures))

    def __len__(self) -> int:
        """Pictures."""
        return len(self.pictures)

    def __getitem__(self, draw: Draw) -> tuple[Tensor, int] | None:
        """Give input and class of a picture in an epoch; None where it is broken, which is said the first time.

        Raises:
            UserError: So many are broken that what is left would be something else.
        """
        epoch, number = draw
        file, label = self.pictures[number]
        try:
            picture = read_input(file, self._intensity)
        except (OSError, UserError) as error:
            self._broken.add(number, f"{file}: left out: {str(error).removeprefix(f'{file}: ')}")
            return None
        with seeded(image_seed(self._seed, epoch, number)):
            return self._transform(picture), label


def collate(samples: list[tuple[Tensor, int] | None]) -> tuple[Tensor, Tensor]:
    """Give images (B, 3, S, S), uint8, and classes (B,); fewer where some are broken, and maybe none."""
    whole = [sample for sample in samples if sample is not None]
    images = torch.stack([image for image, _ in whole]) if whole else torch.empty(0, 3, 0, 0, dtype=torch.uint8)
    return images, torch.tensor([label for _, label in whole], dtype=torch.int64)
