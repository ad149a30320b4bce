"""A training in float64, whose weights are kept, and a validation; run by `torchrun` it is one of several processes."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

import moat_det.offline  # noqa: F401
from moat_det.engine import model as facade
from moat_det.engine.model import MOAT
from tools.measure_ranks import DoubleTrainer

SETTINGS: dict[str, Any] = {
    "epochs": 3,
    "imgsz": 64,
    "batch": 8,
    "workers": 0,
    "plots": False,
    "amp": False,
    "sync_bn": True,
    "close_mosaic": 1,
    "copy_paste": 0.5,
    "nbs": 16,
    "device": "cpu",
}


class Ended(Exception):
    """What stops a training after its first epoch, before float32 comes in with validation."""


def train_in_double(data: Path, model: Path, folder: Path) -> None:
    """Train for an epoch; leaves `double.pt`, the weights, and `loss.pt`, the mean losses, in `folder`."""

    def keep_and_end(trainer: Any) -> None:
        if trainer.group.leads:
            own = getattr(trainer.model, "module", trainer.model)
            torch.save({name: tensor.clone() for name, tensor in own.state_dict().items()}, folder / "double.pt")
            torch.save({name: float(value) for name, value in trainer.tloss.items()}, folder / "loss.pt")
        raise Ended

    detector = MOAT(str(model))
    detector.add_callback("on_train_epoch_end", keep_and_end)
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.MonkeyPatch.context() as patch, suppress(Ended):
            patch.setattr(facade, "Trainer", DoubleTrainer)
            detector.train(data=str(data), project=str(folder), **SETTINGS)
    finally:
        torch.set_default_dtype(torch.float32)


def validate(data: Path, weights: Path, folder: Path) -> None:
    """Validate; leaves the run's folder `val` in `folder`."""
    MOAT(str(weights)).val(data=str(data), batch=2, workers=0, device="cpu", project=str(folder), name="val")


if __name__ == "__main__":
    data, model, weights, folder = map(Path, sys.argv[1:])
    if model.is_file():
        train_in_double(data, model, folder)
    if weights.is_file():
        validate(data, weights, folder)
