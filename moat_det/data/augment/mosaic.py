"""Mosaics: four images around a point, on a canvas of twice the height and width of a training image."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from ultralytics.utils.instance import Instances

from moat_det.data.augment.mixing import Partners
from moat_det.data.sizes.letterbox import PADDING


class Mosaic(Partners):
    """Puts an image and three others around a random point of a canvas of 2H x 2W pixels.

    The point lies in the middle half of either axis. Each image touches it with one corner and is cut off where the
    canvas ends; `Perspective` then scales the canvas and cuts a training image out of its middle. For squares this is
    the engine's mosaic, which knows no other shapes.

    Source: YOLOv4 (Bochkovskiy et al., 2020), section 3.3.

    Args:
        dataset: Where the others come from.
        p: How often.
    """

    def __init__(self, dataset: Any, p: float) -> None:
        super().__init__(dataset, p=p)

    def get_indexes(self) -> list[int]:
        """Draw the three others."""
        return [self.dataset.partner() for _ in range(3)]

    def get_params(self, labels: dict[str, Any]) -> dict[str, Any]:
        """Give the four parts, their top left corners on the canvas, and its height and width."""
        shape = labels["rect_shape"]
        parts = [labels, *super().get_params(labels)["mix_labels"]]
        y, x = (int(random.uniform(side / 2, side * 3 / 2)) for side in shape)
        corners = []
        for number, part in enumerate(parts):
            height, width = part["img"].shape[:2]
            corners.append((y if number >= 2 else y - height, x if number % 2 else x - width))
        return {"parts": parts, "corners": corners, "canvas": (2 * shape[0], 2 * shape[1])}

    def apply_image(self, labels: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
        """Put the images together; in between is the gray of the padding."""
        rows, columns = params["canvas"]
        bands = max(part["img"].shape[2] for part in params["parts"])  # gray beside colour becomes colour
        canvas = np.full((rows, columns, bands), PADDING, np.uint8)
        params["sizes"] = [part["img"].shape[:2] for part in params["parts"]]
        for part, (top, left), (height, width) in zip(params["parts"], params["corners"], params["sizes"], strict=True):
            y1, y2, x1, x2 = max(top, 0), min(top + height, rows), max(left, 0), min(left + width, columns)
            canvas[y1:y2, x1:x2] = part["img"][y1 - top : y2 - top, x1 - left : x2 - left]
        labels.update(img=canvas, resized_shape=(rows, columns))
        return labels

    def apply_instances(self, labels: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
        """Move the boxes with their images and cut them off where the canvas ends."""
        for part, (top, left), (height, width) in zip(params["parts"], params["corners"], params["sizes"], strict=True):
            part["instances"].convert_bbox("xyxy")
            part["instances"].denormalize(width, height)
            part["instances"].add_padding(left, top)
        together = Instances.concatenate([part["instances"] for part in params["parts"]], axis=0)
        together.clip(*params["canvas"][::-1])
        kept = together.remove_zero_area_boxes()
        labels.update(instances=together, cls=np.concatenate([part["cls"] for part in params["parts"]])[kept])
        return labels
