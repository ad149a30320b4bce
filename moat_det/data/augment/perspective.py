"""Turning, scaling, shearing and shifting an image, with boxes that stay on what they enclose."""

from __future__ import annotations

from copy import copy
from typing import Any

import cv2
import numpy as np
from ultralytics.data.augment import RandomPerspective

from moat_det.data.sizes.letterbox import PADDING

# A point at the canvas's corner may come nearer or go farther by this share of its distance. At 1 it lies on the
# horizon, where boxes become infinite: the engine's matrix gets there at a `perspective` of 0.001 and 1280 px.
_MOST_TILT = 0.8

# From the coordinates of edges, in which boxes are given and pixel i reaches from i to i + 1, to those of pixel
# centres, in which OpenCV warps.
_TO_CENTRES = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])


class Perspective(RandomPerspective):
    """The engine's on rectangles, without its shift of the image against its boxes, and with the boxes of all it shows.

    Its matrix is meant for the edges of pixels and given to OpenCV, which takes it for their centres: scaled by s, the
    image lies (s - 1) / 2 pixels beside its boxes. And it drops boxes of up to 2 pixels and of a hundred times their
    width: a pit or a scratch that stays in the picture would be learnt as background.
    """

    @staticmethod
    def box_candidates(box1: np.ndarray, box2: np.ndarray, area_thr: float = 0.1, **_: Any) -> np.ndarray:
        """Tell which boxes are kept: all but those of which the frame leaves too little.

        Args:
            box1: The boxes before, but for their scale, xyxy in pixels, (4, N).
            box2: What lies within the frame of them, likewise.
            area_thr: The least share of its area that is to be left of a box; and more than 2 pixels of each side, or
                half of what the box is wide.

        Returns:
            (N,), bool.
        """
        whole, left = box1[2:] - box1[:2], box2[2:] - box2[:2]
        least = np.minimum(2, whole.min(0) / 2)
        return (left > least).all(0) & (left.prod(0) > area_thr * whole.prod(0))

    def _compute_affine_matrix(self, img: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, float]:
        """Draw a matrix of edge coordinates and its scale; the tilt is bounded by the size of the canvas."""
        bounded = copy(self)
        bounded.perspective = min(self.perspective, 2 * _MOST_TILT / sum(img.shape[:2]))
        return super(Perspective, bounded)._compute_affine_matrix(img, size)

    def apply_image(self, labels: dict[str, Any], params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Warp the image (H, W, C) to `params["size"]` (width, height)."""
        assert params is not None
        matrix = _TO_CENTRES @ params["M"] @ np.linalg.inv(_TO_CENTRES)
        settings = {"dsize": params["size"], "borderValue": (PADDING,) * 4}
        if self.perspective:
            image = cv2.warpPerspective(labels["img"], matrix, **settings)
        else:
            image = cv2.warpAffine(labels["img"], matrix[:2], **settings)
        labels["img"] = image.reshape(*image.shape[:2], -1)  # of one band, cv2 drops the axis
        labels["resized_shape"] = image.shape[:2]
        return labels
