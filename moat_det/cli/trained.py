"""What the subcommands that use a trained model have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moat_det.engine.model import MOAT
from moat_det.errors import UserError
from moat_det.options import option

GENERAL = "imgsz batch device conf iou max_det agnostic_nms classes augment quantize project name exist_ok verbose"
"""The engine's arguments that lead the help."""

IMGSZ = "longer side of the images in pixels, or height and width, or native: their own size"


@dataclass(frozen=True)
class TrainedModel:
    """The model to use."""

    weights: str = option(..., "trained checkpoint, e.g. runs/train/weights/best.pt")

    def load(self) -> MOAT:
        """Load it.

        Raises:
            UserError: It is none.
        """
        if Path(self.weights).suffix != ".pt":
            raise UserError(
                f"--weights {self.weights}: must be a checkpoint (.pt) that a training wrote, "
                "e.g. runs/train/weights/best.pt, or to detect or validate what moat export wrote"
            )
        return MOAT(self.weights)


def refuse_model(given: Mapping[str, Any]) -> None:
    """Raise UserError where --model is given: the checkpoint holds the model."""
    if given.get("model"):
        raise UserError(f"--model {given['model']}: use --weights with the path of a trained checkpoint")
