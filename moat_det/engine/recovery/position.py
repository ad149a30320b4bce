"""The position in an epoch, so that a run goes on amid one as if it had not been stopped."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from moat_det.engine.recovery.random_states import random_states, set_random_states


class Position:
    """How far an epoch is, and how a resumed run gets there again.

    The engine's loop counts an epoch's batches in a variable of its own, from which warm-up and the means of the losses
    follow. So a resumed run passes through the batches that were trained on, without reading one and with a model that
    does nothing.

    Attributes:
        batches: How many of the epoch have ended.
        amid_batch: Another one has begun.
    """

    def __init__(self) -> None:
        self.batches = 0
        self.amid_batch = False
        self._passing = 0
        self._resumed: Mapping[str, Any] = {}
        self._model: nn.Module | None = None
        self._saved = time.monotonic()

    def start_epoch(self, trainer: Any) -> None:
        """Begin an epoch, at its first batch or where the run was stopped."""
        self.leave_epoch()
        self._passing = self._resumed.get("batches", 0)
        trainer.train_loader.skip = self._passing

    def leave_epoch(self) -> None:
        """Be at no batch: there is nothing for a checkpoint to keep."""
        self.batches, self.amid_batch = 0, False

    def resume(self, state: Mapping[str, Any], batch: int) -> bool:
        """Go on from `state`; an empty one, or one of batches of another size, is the beginning of an epoch.

        Args:
            state: As a checkpoint has it.
            batch: Images of a batch.

        Returns:
            Whether it is amid one.
        """
        self._resumed = state if state.get("batch") == batch else {}
        return bool(self._resumed)

    def is_passed(self, trainer: Any) -> bool:
        """Begin a batch: whether it was trained on before the run was stopped."""
        self.amid_batch = True
        if self.batches < self._passing:
            if self._model is None:
                self._model, trainer.model = trainer.model, _Nothing(self._resumed["losses"], trainer.device)
            return True
        self.arrive(trainer)
        return False

    def arrive(self, trainer: Any) -> None:
        """Put back the model and all that the next batch depends on, where batches were passed."""
        if self._model is None:
            return
        trainer.model, self._model = self._model, None
        losses = self._resumed["losses"].items()
        trainer.tloss = {name: torch.tensor(loss, device=trainer.device) for name, loss in losses} or None
        set_random_states(self._resumed["random"])
        self._resumed = {}

    def end_batch(self) -> None:
        """Count a batch."""
        self.batches, self.amid_batch = self.batches + 1, False

    @property
    def is_savable(self) -> bool:
        """Whether the epoch has batches for a checkpoint to keep; not while batches are passed, without the model."""
        return self.batches > 0 and not self._resumed

    def is_due(self, minutes: float) -> bool:
        """Whether the last checkpoint is older than so many minutes; 0 is never."""
        return minutes > 0 and self.is_savable and time.monotonic() - self._saved >= 60 * minutes

    def note_saved(self) -> None:
        """Note that a checkpoint was written."""
        self._saved = time.monotonic()

    def state(self, losses: Mapping[str, Any] | None, batch: int) -> dict[str, Any]:
        """Give what a checkpoint keeps.

        Args:
            losses: Their means in the epoch, as the engine has them; None where no batch had any.
            batch: Images of a batch.
        """
        return {
            "batches": self.batches,
            "batch": batch,
            "losses": {name: float(value) for name, value in (losses or {}).items()},
            "random": random_states(),
        }


class _Nothing(nn.Module):
    """In the place of the model: losses, and no gradient of any parameter."""

    criterion = None

    def __init__(self, losses: Mapping[str, float], device: torch.device) -> None:
        super().__init__()
        self._losses = {name: torch.tensor(loss, device=device) for name, loss in losses.items()}
        self._zero = torch.zeros(1, device=device, requires_grad=True)

    def forward(self, batch: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return self.loss(batch)

    def loss(self, batch: Any, preds: Any = None) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return self._zero * 0, self._losses
