"""What people see of an image that has other bands than a picture."""

from __future__ import annotations

import numpy as np

from moat_det.data.images.header import large_images
from moat_det.data.images.intensity import Intensity
from moat_det.data.images.read import read_input


def shown_bands(image: np.ndarray) -> np.ndarray:
    """Give (H, W, 3) of an image (H, W, C): of more bands the first three, as RGB; of fewer the first, as gray."""
    return image[..., :3] if image.shape[2] >= 3 else image[..., [0, 0, 0]]


def as_picture(image: np.ndarray) -> np.ndarray:
    """Give (H, W, 3), BGR, of an image (H, W, C), BGR where C is 3, by `shown_bands`."""
    return image if image.shape[2] == 3 else np.ascontiguousarray(shown_bands(image)[..., ::-1])


def read_rgb(path: str, intensity: Intensity, channels: int) -> np.ndarray:
    """Read an image as people see it, (H, W, 3) uint8 RGB; raises OSError where it cannot be read."""
    with large_images():
        image = read_input(path, intensity, channels)
    return np.ascontiguousarray(as_picture(image)[..., ::-1])
