"""The options of a training by hidden patches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from moat_det.data.config import MAX_CHANNELS
from moat_det.data.images.intensity import Intensity
from moat_det.engine.model import DEFAULT_BACKBONE
from moat_det.errors import UserError
from moat_det.options import option
from moat_det.pretraining.masked.masks import PATCH
from moat_det.pretraining.options import check_range


@dataclass(frozen=True)
class MaskedOptions:
    """What learns from which pictures; it stays the same when a run goes on.

    Raises:
        UserError: A value is out of its range.
    """

    source: str | None = option(None, "pictures without labels: a folder, a pattern or a list (.txt)", metavar="PATH")
    backbone: str = option(DEFAULT_BACKBONE, "by name: tiny_moat0, mobilevit_xs, timm/NAME, or a model YAML")
    weights: str | None = option(None, "what the backbone starts from: imagenet, or a file", metavar="PATH|imagenet")
    imgsz: int = option(224, f"side of the squares that are cut out, in pixels, a multiple of {PATCH}")
    mask_ratio: float = option(0.6, "share of each square that is hidden", metavar="SHARE")
    channels: int = option(3, "bands of the pictures: 1 gray, 3 colour, or as many as there are", metavar="N")
    intensity: Any = option(
        "auto",
        "what of more than 8 bits becomes 0 to 255: auto (range of all pictures), image (of each), full (of the type), "
        "or lowest and highest",
        takes="auto | image | full | list",
    )

    def __post_init__(self) -> None:
        """Check the values."""
        if self.imgsz < 2 * PATCH or self.imgsz % PATCH:
            raise UserError(f"--imgsz {self.imgsz}: must be a multiple of {PATCH}, {2 * PATCH} or more")
        check_range("mask_ratio", self.mask_ratio, 0, 1, above=True, below=True)
        check_range("channels", self.channels, 1, MAX_CHANNELS)
        Intensity.parse(self.intensity, "--intensity")
