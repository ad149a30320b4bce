"""Boxes brought into the model's input, as a `Placement` says."""

from __future__ import annotations

import numpy as np

from moat_det.data.sizes.letterbox import Placement


def to_input(place: Placement, boxes: np.ndarray) -> np.ndarray:
    """Boxes (..., 4), xyxy in pixels of the image, in the input."""
    return boxes * ([place.scale_x, place.scale_y] * 2) + [place.left, place.top] * 2
