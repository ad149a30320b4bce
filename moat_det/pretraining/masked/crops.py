"""Squares cut out of pictures at their own resolution, each with the mask that goes over it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from moat_det.data.images.read import read_input
from moat_det.data.loader.broken import BrokenImages
from moat_det.data.seeds import image_seed
from moat_det.errors import UserError
from moat_det.pretraining.batches import Draw
from moat_det.pretraining.masked.masks import PATCH, draw_mask
from moat_det.pretraining.masked.pictures import Pictures


class Crops(Dataset[tuple[Tensor, Tensor]]):
    """One square of each picture, another one in each epoch, turned and mirrored at random.

    All that is random depends on (seed, epoch, picture) alone. Nothing is scaled: a defect keeps the size that it has
    in detection at full resolution. A picture that is smaller than the square goes on as its mirror image.

    Args:
        pictures: What to cut from.
        size: Side of the squares in pixels, a multiple of `PATCH`.
        ratio: Share of the patches that are hidden.
        seed: Of the training.
    """

    def __init__(self, pictures: Pictures, size: int, ratio: float, seed: int) -> None:
        self.pictures, self.size, self.ratio, self.seed = pictures, size, ratio, seed
        self.broken = BrokenImages(len(pictures.paths))

    def __len__(self) -> int:
        """Pictures."""
        return len(self.pictures.paths)

    def __getitem__(self, draw: Draw) -> tuple[Tensor, Tensor]:
        """Give a square (C, size, size) uint8, RGB where C is 3, and its mask (size / PATCH, size / PATCH) bool.

        Args:
            draw: Epoch and number of the picture.

        Raises:
            UserError: So many pictures can no longer be read that it would be a training on something else.
        """
        epoch, index = draw
        rng = np.random.default_rng(image_seed(self.seed, epoch, index))
        square = _turn(cut(self._read(index), self.size, rng), rng)
        patches = self.size // PATCH
        mask = draw_mask(rng, patches, patches, self.ratio)
        planes = square[..., ::-1] if square.shape[2] == 3 else square
        return torch.from_numpy(np.ascontiguousarray(planes.transpose(2, 0, 1))), torch.from_numpy(mask)

    def _read(self, index: int) -> np.ndarray:
        """Read a picture, or the next one that can be read."""
        path = self.pictures.paths[index]
        try:
            return read_input(path, self.pictures.intensity, self.pictures.channels)
        except (OSError, UserError) as error:
            self.broken.add(index, f"{path}: {str(error).removeprefix(f'{path}: ')}")
        for step in range(1, len(self)):
            if (other := (index + step) % len(self)) not in self.broken:
                return self._read(other)
        raise UserError(f"{path}: neither it nor any other picture of the source can be read")


def cut(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Cut a square of `size` pixels out of an image (H, W, C), mirrored over its edges where it is smaller."""
    missing = [max(size - side, 0) for side in image.shape[:2]]
    if any(missing):
        image = np.pad(image, [(gap // 2, gap - gap // 2) for gap in missing] + [(0, 0)], mode="symmetric")
    top, left = (int(rng.integers(side - size + 1)) for side in image.shape[:2])
    return image[top : top + size, left : left + size]


def _turn(square: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn by quarters of a circle and mirror: one of the eight ways in which a part may lie."""
    turned = np.rot90(square, int(rng.integers(4)))
    return turned[:, ::-1] if rng.integers(2) else turned
