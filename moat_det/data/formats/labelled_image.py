"""An image with its boxes: the record that every format is read into, and that every output is written from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(eq=False)
class LabelledImage:
    """One image with its boxes.

    Attributes:
        path: The image file.
        height: In pixels, after the EXIF rotation.
        width: In pixels, after the EXIF rotation.
        classes: (N,) int64.
        boxes: (N, 4) xyxy in pixels, within the image.
        shares: (N, 4) float64, centre x, centre y, width, height as shares of the image's sides, to the last digit of
            the file where it gives them; None computes them.
        ignored: (N,) bool, True for a region that is no object, such as COCO's crowds: evaluation counts what is found
            there neither as right nor as wrong; None for objects only.
    """

    path: str
    height: int
    width: int
    classes: np.ndarray
    boxes: np.ndarray
    shares: np.ndarray = None  # type: ignore[assignment]  # an array from __post_init__ on
    ignored: np.ndarray = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        """Compute what was not given."""
        if self.shares is None:
            self.shares = box_shares(self.boxes, self.height, self.width)
        if self.ignored is None:
            self.ignored = np.zeros(len(self.classes), dtype=bool)


def box_shares(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Give boxes, (N, 4) xyxy in pixels, as centre x, centre y, width, height in shares of the image's sides."""
    corners = boxes.reshape(-1, 4)
    low, high = corners[:, :2], corners[:, 2:]
    return np.hstack([(low + high) / 2, high - low]) / np.array([width, height] * 2, dtype=np.float64)
