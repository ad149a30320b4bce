"""Images in memory, brought to the 8 bits that the model was trained on; and what is drawn of an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps

from moat_det.data.images.intensity import Intensity
from moat_det.data.images.read import read_input
from moat_det.errors import UserError


def as_bytes(item: Any, intensity: Intensity, channels: int) -> Any:
    """Bring an array, a picture, or a file of a list of images to 8 bits; anything else stays as it is.

    Raises:
        UserError: The file cannot be read.
    """
    if isinstance(item, np.ndarray):
        return intensity.to_uint8(np.atleast_3d(item))
    if isinstance(item, Image.Image):
        if item.mode[0] not in "IF":
            return item
        gray = intensity.to_uint8(np.asarray(ImageOps.exif_transpose(item))[..., None])
        return _named(gray[..., 0], getattr(item, "filename", ""))
    if not isinstance(item, (str, Path)) or str(item).lower().startswith(("http://", "https://")):
        return item
    try:
        image = read_input(item, intensity, channels)
    except OSError as error:
        raise UserError(f"{item}: {error.strerror or error}; replace the file, or leave it out") from None
    return image if channels != 3 else _named(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), str(item))


def _named(image: np.ndarray, name: str) -> Image.Image:
    """Give a picture that the engine calls by the name of its file."""
    picture = Image.fromarray(image)
    picture.filename = name  # type: ignore[attr-defined]
    return picture


def as_picture(image: np.ndarray) -> np.ndarray:
    """Give (H, W, 3), BGR, to draw of an image (H, W, C): of bands the first three as RGB, or the first as gray."""
    if image.shape[2] == 3:
        return image
    bands = image[..., [0, 0, 0]] if image.shape[2] < 3 else image[..., 2::-1]
    return np.ascontiguousarray(bands)
