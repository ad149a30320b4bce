"""Scaling an image and padding it to a shape, with boxes that follow to the pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moat_det.data.images.resize import resize
from moat_det.data.sizes.shape import Shape

PADDING = 114  # the gray that the engine pads training images with


@dataclass(frozen=True)
class Placement:
    """Where an image lies in the model's input.

    Attributes:
        scale_x: Pixels of the input for one of the image, horizontally.
        scale_y: The same, vertically: sides are whole pixels, so that the two differ a little.
        left: Column of the input where the image begins.
        top: Row of the input where it begins.
    """

    scale_x: float
    scale_y: float
    left: int = 0
    top: int = 0

    @classmethod
    def of(cls, size: Shape, scaled: Shape, padded: Shape, centred: bool) -> Placement:
        """Place an image.

        Args:
            size: Its height and width.
            scaled: Those after scaling.
            padded: Those of the input, no smaller.
            centred: Whether it lies in the middle, by a pixel further up and left where the padding is odd, as the
                engine rounds; else in the upper left corner.
        """
        top, left = ((whole - side) // 2 if centred else 0 for whole, side in zip(padded, scaled, strict=True))
        return cls(scaled[1] / size[1], scaled[0] / size[0], left, top)

    def to_image(self, boxes: np.ndarray) -> np.ndarray:
        """Bring boxes (..., 4), xyxy in pixels of the input, back into the image."""
        return (boxes - [self.left, self.top] * 2) / ([self.scale_x, self.scale_y] * 2)


def letterbox(image: np.ndarray, scaled: Shape, padded: Shape, centred: bool = True) -> np.ndarray:
    """Scale an image (H, W, C), by area where it shrinks, and pad it; see `Placement.of`.

    One that has the padded shape already is returned as it is.
    """
    image = resize(image, *scaled)
    if scaled == padded:
        return image
    place = Placement.of(scaled, scaled, padded, centred)
    canvas = np.full((*padded, image.shape[2]), PADDING, image.dtype)
    canvas[place.top : place.top + scaled[0], place.left : place.left + scaled[1]] = image
    return canvas
