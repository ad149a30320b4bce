"""What a classifier sees of a picture when nothing is left to chance."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def view(picture: np.ndarray, side: int, part: float | None) -> np.ndarray:
    """Give a picture as a square.

    Args:
        picture: (H, W, 3), uint8, BGR.
        side: Of the square, in pixels.
        part: Part of the shorter side that the square in the middle takes; None for the whole picture, squeezed into
            the square.

    Returns:
        (side, side, 3), uint8, RGB.
    """
    height, width = picture.shape[:2]
    box = None
    if part is not None:
        half = part * min(height, width) / 2
        box = (width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half)
    return np.array(Image.fromarray(picture[..., ::-1]).resize((side, side), Image.Resampling.BICUBIC, box))


def view_tensor(side: int, part: float | None, picture: np.ndarray) -> Tensor:
    """Give what `view` gives as (3, side, side)."""
    return torch.from_numpy(view(picture, side, part).transpose(2, 0, 1).copy())
