"""What a validation measured with: thresholds hold for these weights and settings alone."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

SETTINGS = "settings.json"
"""What a validation calls its file of them."""


@dataclass(frozen=True)
class Settings:
    """The weights and settings of a validation, in plain types.

    Attributes:
        weights: Digest of the weights.
        weights_file: Where they were.
        split: Digest of the split, of its images and labels.
        chosen_on_same_split: Whether the weights were chosen, among those of the epochs, by how they did on the same
            images; None where the weights do not say.
        classes: The names of the classes, in their order.
        conf: The score above which a detection was kept.
        imgsz: The longer side in pixels, or height and width, or "native".
        max_pixels: Larger images were scaled down to as many; None: none was.
        window: The attention windows; None: those of the training.
        position: What became of the position tables; None: the default.
        rect: Rectangles instead of squares.
        iou: Boxes of a class that overlap a better one by more were dropped.
        agnostic_nms: Boxes dropped those of other classes too.
        max_det: The most detections of an image.
        augment: Test-time augmentation.
        quantize: The number format, in bits; None: the default.
        only: The indices of the classes that were looked for; None: all.
        intensity: How images of more than 8 bits became the input.
        dtype: What a checkpoint was computed in, such as "bfloat16", which depends on the machine; None: that of an
            exported file, or of a validation from before it was kept.
    """

    weights: str
    weights_file: str
    split: str
    chosen_on_same_split: bool | None
    classes: list[str]
    conf: float
    imgsz: int | list[int] | str
    max_pixels: int | None
    window: Any
    position: str | None
    rect: bool
    iou: float
    agnostic_nms: bool
    max_det: int
    augment: bool
    quantize: int | str | None
    only: list[int] | None
    intensity: dict[str, Any]
    dtype: str | None = None

    @classmethod
    def of(cls, content: dict[str, Any]) -> Settings:
        """Take them out of what a file holds; raises `KeyError` where one is missing."""
        kept = {"dtype": None, **content}
        return cls(**{each.name: kept[each.name] for each in fields(cls)})
