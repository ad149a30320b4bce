"""How bright and how sharp an image is in the model's input."""

from __future__ import annotations

import cv2
import numpy as np

APPEARANCE = "appearance.json"
"""What a validation calls its file: lists `image_id`, `brightness` and `sharpness`, an entry for each image."""


def appearance(image: np.ndarray) -> tuple[float, float]:
    """Measure an image as the model sees it, without padding.

    Args:
        image: (H, W, C) uint8; of three bands, R, G and B, the luminance is looked at, of others their mean.

    Returns:
        The brightness, the mean over the pixels, 0 to 255; and the sharpness, the variance of the Laplacian, which
        falls when the focus is lost or dust lies on the lens (Pech-Pacheco et al. 2000).
    """
    if image.shape[2] == 3:
        gray = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    else:
        gray = image.mean(axis=2).round().astype(np.uint8)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(gray, cv2.CV_16S))
    return float(cv2.mean(gray)[0]), float(deviation[0, 0] ** 2)
