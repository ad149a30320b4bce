"""Images at their own size: padded to the model's stride, and scaled only where they have too many pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from moat_det.data.images.resize import resize

PADDING = 114  # the gray that the engine pads training images with


@dataclass(frozen=True)
class NativeSize:
    """The size that an image goes through the model with, when it is not `imgsz`.

    Attributes:
        stride: The model's largest, of which both sides are multiples after padding, in pixels.
        max_pixels: Images of more pixels are scaled down to as many; None scales none.
    """

    stride: int
    max_pixels: int | None = None

    def scaled(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of an image after scaling: its own, or those that `max_pixels` allow."""
        if self.max_pixels is None or height * width <= self.max_pixels:
            return height, width
        ratio = math.sqrt(self.max_pixels / (height * width))
        return max(int(height * ratio), 1), max(int(width * ratio), 1)

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after scaling and padding."""
        rows, columns = (math.ceil(side / self.stride) * self.stride for side in self.scaled(height, width))
        return rows, columns

    def scale(self, image: np.ndarray) -> np.ndarray:
        """Scale an image (H, W, C) down if it has too many pixels; else it is returned as it is."""
        return resize(image, *self.scaled(*image.shape[:2]))

    def fit(self, image: np.ndarray) -> np.ndarray:
        """Scale and pad an image (H, W, C); padding is at the bottom and the right, so that no pixel moves."""
        image = self.scale(image)
        height, width, channels = image.shape
        rows, columns = self.padded(height, width)
        if (rows, columns) == (height, width):
            return image
        padded = np.full((rows, columns, channels), PADDING, image.dtype)
        padded[:height, :width] = image
        return padded


def batches_by_shape(shapes: Sequence[tuple[int, int]], batch: int) -> list[list[int]]:
    """Group images of one shape.

    Args:
        shapes: Height and width of each image.
        batch: Most images in a group.

    Returns:
        Positions in `shapes`; the largest images come first, so that what does not fit fails at once.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for index, shape in enumerate(shapes):
        groups.setdefault(shape, []).append(index)
    ordered = sorted(groups.items(), key=lambda item: (math.prod(item[0]), item[0]), reverse=True)
    return [members[i : i + batch] for _, members in ordered for i in range(0, len(members), batch)]
