"""Turning an image by quarters of a circle, which moves every pixel but changes none."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from ultralytics.data.augment import BaseTransform


class QuarterTurns(BaseTransform):
    """Turns a square by 90, 180 or 270 degrees, a rectangle by 180: its shape is that of the batch.

    Args:
        p: How often.
    """

    def __init__(self, p: float) -> None:
        self._p = p

    def get_params(self, labels: dict[str, Any]) -> dict[str, Any]:
        """Draw how many quarters, counter-clockwise, the image (H, W, C) is turned by."""
        height, width = labels["img"].shape[:2]
        choices = (1, 2, 3) if height == width else (2,)
        return {"quarters": random.choice(choices) if random.random() < self._p else 0, "size": (width, height)}

    def apply_image(self, labels: dict[str, Any], params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Turn the image."""
        assert params is not None
        labels["img"] = np.rot90(labels["img"], params["quarters"])
        return labels

    def apply_instances(self, labels: dict[str, Any], params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Turn the boxes."""
        assert params is not None
        instances, (width, height) = labels["instances"], params["size"]
        instances.convert_bbox("xyxy")
        instances.denormalize(width, height)
        boxes = instances.bboxes
        for _ in range(params["quarters"]):
            x1, y1, x2, y2 = boxes.T
            boxes = np.stack([y1, width - x2, y2, width - x1], axis=1)
            width, height = height, width
        instances.update(boxes)
        return labels
