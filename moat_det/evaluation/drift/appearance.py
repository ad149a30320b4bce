"""How bright and how sharp an image is in the model's input."""

from __future__ import annotations

import cv2
import numpy as np

APPEARANCE = "appearance.json"
"""What a validation calls its file: lists `image_id`, `brightness` and `sharpness`, an entry for each image."""


def appearance(image: np.ndarray) -> tuple[float, float]:
    """Measure an image as the model sees it, without padding.

    Args:
        image: (H, W, C) uint8; the mean of its bands is looked at.

    Returns:
        The brightness, the mean over the pixels, 0 to 255; and the sharpness, the variance of the Laplacian, which
        falls when the focus is lost or dust lies on the lens (Pech-Pacheco et al. 2000).
    """
    gray = image.mean(axis=2, dtype=np.float32)
    return float(gray.mean()), float(cv2.Laplacian(gray, cv2.CV_32F).var())
