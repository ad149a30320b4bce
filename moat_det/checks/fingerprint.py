"""A small picture of the fine structure of an image, which tells the same picture from a similar one."""

from __future__ import annotations

import cv2
import numpy as np

SIDE = 96
# Steps in a standard deviation: the noise of a camera is a hundredth of one on a part of strong edges.
_STEPS = 1000


def fingerprint(gray: np.ndarray) -> np.ndarray | None:
    """Give the fine structure of an image.

    What is broader, the illumination above all, is taken out: it is the same in all pictures of one line. The texture
    and the noise of a surface stay, which no two parts have in common.

    Args:
        gray: (H, W) float32, finite or not.

    Returns:
        (96, 96) int16 with mean 0 and standard deviation 1000; None for an image without structure.
    """
    gray = np.nan_to_num(gray, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    small = cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    detail = small - cv2.GaussianBlur(small, (0, 0), SIDE / 32)
    spread = float(detail.std())
    if spread <= 1e-3 * max(1.0, float(np.abs(small).max()) / 255):
        return None
    return np.clip(np.rint((detail - detail.mean()) * (_STEPS / spread)), -32767, 32767).astype(np.int16)


def scale_to(image: np.ndarray, side: int) -> np.ndarray:
    """Scale an image so that its longer side has `side` pixels; the shorter one has at least one."""
    scale = side / max(image.shape[:2])
    height, width = (max(1, round(length * scale)) for length in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def axis_share(gray: np.ndarray) -> float:
    """Give the share of the strongest gradients that point within 10 degrees of the rows or columns; 0.22 is chance."""
    small = scale_to(gray, 320) if max(gray.shape) > 320 else gray
    gx, gy = cv2.Sobel(small, cv2.CV_32F, 1, 0), cv2.Sobel(small, cv2.CV_32F, 0, 1)
    strength = np.hypot(gx, gy)
    strong = strength > np.quantile(strength, 0.9)
    if not strong.any():
        return 0.0
    angle = np.degrees(np.arctan2(np.abs(gy[strong]), np.abs(gx[strong])))
    return float(((angle < 10) | (angle > 80)).mean())
