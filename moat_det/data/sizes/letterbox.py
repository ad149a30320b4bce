"""Scaling and padding an image to a shape, with boxes that follow to the pixel."""

from __future__ import annotations

from typing import Any

from ultralytics.data.augment import LetterBox

from moat_det.data.images.resize import resize


class Letterbox(LetterBox):
    """The engine's, which scales the image to whole pixels and its boxes not: ours take the image's factors."""

    def get_params(self, labels: dict[str, Any]) -> dict[str, Any]:
        """Give sizes, padding, and the factors (width, height) by which image and boxes are scaled."""
        params = super().get_params(labels)
        (height, width), (columns, rows) = params["orig_shape"], params["new_unpad"]
        params["ratio"] = (columns / width, rows / height)
        return params

    def apply_image(self, labels: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
        """Scale the image (H, W, C), by area where it shrinks, and pad it."""
        columns, rows = params["new_unpad"]
        labels["img"] = resize(labels["img"], rows, columns)
        # The engine finds nothing left to scale.
        return super().apply_image(labels, params)
