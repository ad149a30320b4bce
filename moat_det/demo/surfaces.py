"""The metal surfaces of the demo parts, brushed and cast, and what every surface is made of.

Every texture has a fixed scale in pixels, so that a larger image shows more of the part rather than the part
enlarged. Only the lighting spans the image.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class Pad(NamedTuple):
    """A copper pad of a board: its rectangle in whole pixels, and its form."""

    x: int
    y: int
    width: int
    height: int
    round: bool


class Surface(NamedTuple):
    """A good part.

    Attributes:
        image: uint8 (H, W, 3), BGR.
        pads: The pads that lie whole inside the image; empty unless the part is a board.
    """

    image: NDArray[np.uint8]
    pads: list[Pad]


def smooth_noise(rng: np.random.Generator, size: tuple[int, int], cell: tuple[int, int]) -> Array:
    """Give normal noise on a grid of `cell` (height, width) pixels, interpolated to `size` (H, W): float32."""
    (height, width), (cell_y, cell_x) = size, cell
    coarse = rng.standard_normal((height // cell_y + 2, width // cell_x + 2), dtype=np.float32)
    if cell == (1, 1):
        return coarse[:height, :width]
    fine = cv2.resize(coarse, (coarse.shape[1] * cell_x, coarse.shape[0] * cell_y), interpolation=cv2.INTER_CUBIC)
    y, x = rng.integers(cell_y), rng.integers(cell_x)
    return np.ascontiguousarray(fine[y : y + height, x : x + width])


def lighting(rng: np.random.Generator, size: tuple[int, int], strength: float) -> Array:
    """Give a factor per pixel, about 1: brighter towards one side and around one spot of the image."""
    y = np.linspace(-1, 1, size[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, size[1], dtype=np.float32)[None, :]
    angle = rng.uniform(0, 2 * np.pi)
    slope = np.cos(angle) * x + np.sin(angle) * y
    spot_y, spot_x = rng.uniform(-0.7, 0.7, 2)
    spot = np.exp(-((y - spot_y) ** 2 + (x - spot_x) ** 2) / 0.8)
    return np.asarray(1 + strength * (0.5 * slope + spot - 0.4), np.float32)


def to_uint8(image: Array) -> NDArray[np.uint8]:
    """Round to whole gray levels, clipped to 0..255."""
    return np.asarray(np.clip(np.rint(image), 0, 255), np.uint8)


def brushed_metal(rng: np.random.Generator, size: tuple[int, int]) -> Surface:
    """Bright metal with fine lines along one axis and soft bands of reflection across them."""
    upright = rng.random() < 0.5
    span = size[::-1] if upright else size
    lines = sum(
        weight * smooth_noise(rng, span, (thickness, length))
        for weight, thickness, length in ((6, 1, 24), (7, 1, 90), (6, 2, 200), (5, 40, 400), (2.5, 1, 1))
    )
    gray = rng.uniform(140, 180) + np.asarray(lines, np.float32)
    gray = (gray.T if upright else gray) * lighting(rng, size, rng.uniform(0.12, 0.25))
    tint = np.array([1.0, 0.985, 0.96], np.float32) ** rng.uniform(-1.5, 1.5)
    return Surface(to_uint8(gray[..., None] * tint), [])


def cast_grain(rng: np.random.Generator, size: tuple[int, int]) -> Surface:
    """Dark cast metal: grains of several sizes, lit from the upper left."""
    relief = np.zeros(size, np.float32)
    for weight, sigma in ((1.4, 1.2), (2.6, 2.6), (3.0, 6.0)):
        blurred = cv2.GaussianBlur(smooth_noise(rng, size, (1, 1)), (0, 0), sigma)
        # Blurred white noise has a deviation of 1 / (2 sqrt(pi) sigma).
        relief += weight * 2 * np.sqrt(np.pi) * sigma * blurred
    slope = cv2.filter2D(relief, -1, np.array([[2, 1, 0], [1, 0, -1], [0, -1, -2]], np.float32) / 4)
    gray = rng.uniform(88, 122) - rng.uniform(7, 10) * slope
    gray += 5 * smooth_noise(rng, size, (48, 48)) + 3 * smooth_noise(rng, size, (1, 1))
    gray *= lighting(rng, size, rng.uniform(0.12, 0.28))
    tint = np.array([0.96, 1.0, 1.03], np.float32) ** rng.uniform(-1, 1.5)
    return Surface(to_uint8(gray[..., None] * tint), [])
