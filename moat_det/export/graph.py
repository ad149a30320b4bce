"""The part of a detector that goes into a file: from the bytes of images to boxes and scores."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from moat_det.detector.base import BaseDetector
from moat_det.detector.nms import read_output

INPUT, OUTPUT = "images", "predictions"

_MOST = 4096  # images of a batch, and strides of a side, in a file of varying inputs


class Predictions(nn.Module):
    """A folded copy of a detector that gives boxes and scores alone, in float32.

    Attributes:
        detector: The copy.
        dynamic: Whether inputs may vary in size.

    Args:
        detector: In evaluation mode; not changed.
        dynamic: Whether inputs may vary in size: then anchor points are made anew for each.
    """

    def __init__(self, detector: BaseDetector, dynamic: bool) -> None:
        super().__init__()
        # The head keeps its anchor points, the engine's models their second head: not in the user's model.
        self.detector = deepcopy(detector).cpu().float().eval().fuse(verbose=False)
        self.detector.dtype = torch.float32
        self.detector.end2end = False
        self.dynamic = self.detector.model[-1].dynamic = dynamic
        self.detector.model[-1].shape = None
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Give (B, 4 + nc, A): centre x, y, width, height in pixels and scores of images (B, C, H, W), uint8 RGB."""
        predictions, _ = read_output(self.detector(images))
        return predictions


def trace(model: Predictions, example: Tensor) -> ExportedProgram:
    """Trace a detector by torch.export.

    Args:
        model: What is traced.
        example: (B, C, H, W) uint8. Where inputs may vary, batch, height and width do, in multiples of the largest
            stride; then more than one image, and of more than one window along each side, since torch takes a 1 that
            it sees for one that stays.
    """
    shapes: dict[str, Any] | None = None
    if model.dynamic:
        stride = max(int(model.detector.stride.max()), 32)
        height, width = (Dim(name, min=2, max=_MOST) for name in ("rows", "columns"))
        shapes = {"images": {0: Dim("batch", min=1, max=_MOST), 2: stride * height, 3: stride * width}}
    with torch.no_grad(), quiet():
        return torch.export.export(model, (example,), strict=False, dynamic_shapes=shapes)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what torch says of its own inner workings while it exports from the user."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
