"""Steps of the optimizer that would spoil the model: left out, and after several in a row the run goes back."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from ultralytics.utils.torch_utils import unwrap_model

from moat_det.engine.checkpoint import load_checkpoint
from moat_det.engine.run_checkpoints import note_return, restore, set_rates
from moat_det.errors import UserError

logger = logging.getLogger(__name__)

IN_A_ROW = 5
"""Steps without a number in a row, from which on it is no chance."""

MOST_RETURNS = 3
"""How often a run goes back to its last checkpoint."""


class SoundSteps:
    """Lets a step happen where all gradients are numbers.

    Attributes:
        left_out: Steps of the run that did not happen.
    """

    def __init__(self) -> None:
        self.left_out = 0
        self._in_a_row = 0
        self._returns = 0
        self._losses: dict[str, Any] | None = None  # their mean in the epoch, before the last batch

    def check(self, trainer: Any) -> bool:
        """Say whether the step that is due may happen; where not, the gradients are dropped.

        Args:
            trainer: With the gradients of all batches of the step.

        Raises:
            UserError: There were several in a row, and there is no checkpoint to go back to, or it was of no use.
        """
        model = unwrap_model(trainer.model)
        if gradients_are_numbers(model):
            self._in_a_row = 0
            return True
        trainer.optimizer.zero_grad()
        mend_statistics(model, trainer.ema.ema)
        self.left_out += 1
        self._in_a_row += 1
        if self._in_a_row < IN_A_ROW:
            logger.warning(
                f"Epoch {trainer.epoch + 1}: the loss or a gradient is no number; the step is left out, "
                f"{self.left_out} so far"
            )
            return False
        self._in_a_row = 0
        self.go_back(trainer, f"the loss or a gradient was no number in {IN_A_ROW} steps in a row")
        trainer.accumulation.start()
        return False

    def keep_losses(self, trainer: Any) -> None:
        """Leave a batch whose losses are no numbers out of their mean in the epoch."""
        losses = trainer.tloss
        if losses is not None and not all(torch.isfinite(torch.as_tensor(value)) for value in losses.values()):
            trainer.tloss = self._losses
        self._losses = trainer.tloss

    def start_epoch(self) -> None:
        """Begin the mean of the losses anew."""
        self._losses = None

    def end_epoch(self, trainer: Any) -> None:
        """Let the losses be those of the last batch where none had numbers."""
        if trainer.tloss is None:
            trainer.tloss = trainer.loss_items

    def go_back(self, trainer: Any, why: str) -> None:
        """Take the weights of the newest checkpoint again, and half the learning rate.

        Args:
            trainer: Of which all processes go back together.
            why: What was wrong, for the message.

        Raises:
            UserError: There is none, or the run went back too often.
        """
        self._returns += 1
        file = trainer.newest_checkpoint()
        if self._returns > MOST_RETURNS or file is None:
            raise UserError(
                f"{why}, in epoch {trainer.epoch + 1}: lower --lr0 (it is {trainer.args.lr0}), or try --amp false"
            )
        halved = [group["initial_lr"] / 2 for group in trainer.optimizer.param_groups]
        checkpoint = load_checkpoint(file)
        assert checkpoint.training is not None
        unwrap_model(trainer.model).load_state_dict(checkpoint.training["weights"])
        restore(trainer, checkpoint)
        set_rates(trainer, halved)
        for group, rate in zip(trainer.optimizer.param_groups, halved, strict=True):
            group["lr"] = rate * trainer.lf(trainer.epoch)
        if trainer.group.leads and file == trainer.last:  # a run that is resumed counts on, at this rate
            note_return(trainer, checkpoint, file)
        logger.warning(
            f"Epoch {trainer.epoch + 1}: {why}; the weights are those of {file} again, and the learning rate is half "
            "of what it was"
        )

    def state(self) -> dict[str, int]:
        """Give what a checkpoint keeps."""
        return {"left_out": self.left_out, "in_a_row": self._in_a_row, "returns": self._returns}

    def resume(self, state: Mapping[str, int]) -> None:
        """Go on counting from `state`, as `state()` gives it; an empty one is the beginning of a run."""
        self.left_out, self._in_a_row = state.get("left_out", 0), state.get("in_a_row", 0)
        self._returns = state.get("returns", 0)


def gradients_are_numbers(model: nn.Module) -> bool:
    """Whether no gradient of a model is NaN or infinite."""
    gradients = [each.grad for each in model.parameters() if each.grad is not None]
    return not gradients or bool(torch.nn.utils.get_total_norm(gradients).isfinite())


def mend_statistics(model: nn.Module, averaged: nn.Module) -> None:
    """Take the average's batch statistics for those that the pass has spoilt."""
    own = dict(averaged.named_buffers())
    for name, buffer in model.named_buffers():
        if buffer.is_floating_point() and not buffer.isfinite().all() and name in own:
            buffer.copy_(own[name])
