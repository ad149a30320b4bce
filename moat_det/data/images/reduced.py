"""Decoding a JPEG at a part of its size, which saves most of the time where it is scaled down anyway."""

from __future__ import annotations

import cv2
import numpy as np

_JPEG = b"\xff\xd8\xff"
# Beside ANYCOLOR these keep colour, whatever their names say.
_FLAGS = {8: cv2.IMREAD_REDUCED_GRAYSCALE_8, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2}


def decoding_factor(size: tuple[int, int], target: tuple[int, int]) -> int:
    """Give by how much an image may be reduced while it is decoded.

    Both sides are multiples of the factor: libjpeg rounds others up, which would move the pixels against the boxes.

    Args:
        size: The image's height and width.
        target: Its height and width after scaling; it is decoded at no less.

    Returns:
        8, 4 or 2; 1 for the whole image.
    """
    for factor in _FLAGS:
        if all(side % factor == 0 and side // factor >= wanted for side, wanted in zip(size, target, strict=True)):
            return factor
    return 1


def reducing_flag(content: np.ndarray, factor: int) -> int:
    """Give OpenCV's flag for decoding at 1 / `factor`; 0 where the bytes of the file are no JPEG's.

    Other formats would be decoded whole and then resized by OpenCV in a poorer way.
    """
    return _FLAGS.get(factor, 0) if content[:3].tobytes() == _JPEG else 0
