"""What the loop asks of what is learnt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

Batch = tuple[Tensor, ...]
"""Tensors with a row for each image, of which the first holds the images, (B, C, H, W)."""


class Task(Protocol):
    """What a backbone learns by.

    Attributes:
        name: One word: in checkpoints, and of the folder of a run where the user gives none.
        fitness: The figure of `measure` whose highest value chooses `best.pt`; "" where nothing is measured, and each
            epoch takes the place of the one before.
        training: What a resumed run needs to make the task again: plain types, kept in `training["task"]`.
        fresh: The batch norms' statistics begin at nothing: the backbone has no weights from elsewhere.
    """

    name: str
    fitness: str
    fresh: bool
    training: dict[str, Any]

    @property
    def model(self) -> nn.Module:
        """What trains, on the CPU before the training; it has `backbone` among its attributes."""

    def __len__(self) -> int:
        """Count the batches of an epoch."""

    def batches(self, epoch: int, skip: int, device: torch.device) -> Iterable[Batch]:
        """Give the batches of an epoch but the first `skip`; they depend on epoch and number alone."""

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Compute the loss of a batch or a part of one, the mean over its images, float32; called under autocast."""

    def measure(self, model: nn.Module, device: torch.device, images: int) -> dict[str, float]:
        """Measure the averaged model after an epoch; empty where there is nothing to measure.

        Args:
            model: In evaluation mode.
            device: Of the model.
            images: Of a pass, at most.
        """

    def finish(self, model: nn.Module, folder: Path, device: torch.device, images: int) -> None:
        """Do what is left after the last epoch; a run that is stopped in it does all of it again.

        Args:
            model: The averaged one of the best epoch, in evaluation mode; what is changed in it, `best.pt` gets.
            folder: Of the run.
            device: Of the model.
            images: Of a pass, at most.
        """

    def about(self) -> Mapping[str, Any]:
        """Give the fields of `BackboneCheckpoint` that say what the model is: `backbone`, `imgsz`, and so on."""
