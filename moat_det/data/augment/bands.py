"""Steps that tell gray images, which come as one band, from colour."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from ultralytics.data.augment import RandomHSV

from moat_det.data.images.gray import spread


class Spread:
    """Repeats the band of a gray image, as the steps after it know colour alone.

    Args:
        bands: That an image has afterwards.
    """

    def __init__(self, bands: int) -> None:
        self._bands = bands

    def __call__(self, labels: dict[str, Any]) -> dict[str, Any]:
        """Change `labels["img"]`, (H, W, C)."""
        labels["img"] = spread(labels["img"], self._bands)
        return labels


class Hsv(RandomHSV):
    """The engine's hue, saturation and value; a gray image has its value alone, and gets what it would as colour.

    Args:
        hue: Share of the circle by which the hue changes at most.
        saturation: Share by which the saturation changes at most.
        value: Share by which the value changes at most.
        bands: Of the dataset's images. Where it is not 3, nothing is changed, as by the engine.
    """

    def __init__(self, hue: float, saturation: float, value: float, bands: int) -> None:
        super().__init__(hue, saturation, value)
        self._bands = bands

    def apply_image(self, labels: dict[str, Any], params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Change `labels["img"]`, (H, W, C) uint8."""
        image = labels["img"]
        if self._bands != 3 or image.shape[2] != 1:
            return super().apply_image(labels, params)
        if self.hgain or self.sgain or self.vgain:
            gain = np.random.uniform(-1, 1, 3)[2] * self.vgain  # all three, so that a colour image would draw the same
            table = np.clip(np.arange(256) * (gain + 1), 0, 255).astype(np.uint8)
            labels["img"] = cv2.LUT(image, table).reshape(image.shape)
        return labels
