"""Resizing an image, by area where it shrinks: a defect of a few pixels fades, but never falls between two samples."""

from __future__ import annotations

import cv2
import numpy as np

_MOST_BANDS = 4  # that OpenCV resizes by area at once


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize an image (H, W, C) of any sample type; one of that size is returned as it is."""
    if image.shape[:2] == (height, width):
        return image
    shrinks = height * width < image.shape[0] * image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    bands = image.shape[2]
    parts = [image] if bands <= _MOST_BANDS else np.split(image, range(_MOST_BANDS, bands, _MOST_BANDS), axis=2)
    resized = [cv2.resize(part, (width, height), interpolation=method) for part in parts]
    return resized[0].reshape(height, width, -1) if len(parts) == 1 else np.dstack(resized)  # cv2 drops an axis of one
