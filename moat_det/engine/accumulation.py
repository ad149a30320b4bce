"""Batches whose gradients one step of the optimizer gathers, where `nbs` is above `batch`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

# What the engine's loop compares the batches since its last step with; its own numbers are 1 and more.
_STEP, _WAIT = 0, math.inf


class Accumulation:
    """Decides after which batches the optimizer steps.

    The engine's loop remembers its last step in a local variable, which no checkpoint can hold. Here are that count and
    the gradients that wait for their step at the end of an epoch, so that a resumed run steps when the uncut one does.

    Attributes:
        least: Batches of a step at least, in the warm-up too, in which the engine begins with one.
    """

    def __init__(self) -> None:
        self.least = 1
        self._gathered = 0
        self._wanted = 1
        self._resumed: Mapping[str, Tensor] = {}

    def start(self) -> None:
        """Begin anew, with no batch gathered."""
        self._gathered, self._resumed = 0, {}

    def count(self, accumulate: float) -> float:
        """Count a batch before its pass.

        Args:
            accumulate: The engine's: the batches of a step, or what this function gave for the batch before.

        Returns:
            What to set `accumulate` to, so that the engine steps after this batch, or does not.
        """
        self.leave_out(accumulate)
        self._gathered += 1
        if self._gathered < self._wanted:
            return _WAIT
        self._gathered = 0
        return _STEP

    def leave_out(self, accumulate: float) -> float:
        """Take note of the engine's number for a batch that is not trained on; gives and takes what `count` does."""
        if accumulate not in (_STEP, _WAIT):
            self._wanted = max(int(accumulate), self.least)
        return _WAIT

    def state(self, model: nn.Module) -> dict[str, Any]:
        """Give what a checkpoint keeps: the batches gathered, and their gradients by the names of the parameters."""
        waiting = model.named_parameters() if self._gathered else ()
        return {
            "batches": self._gathered,
            "gradients": {name: parameter.grad for name, parameter in waiting if parameter.grad is not None},
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`; an empty one, of an older checkpoint, begins anew."""
        self._gathered, self._resumed = state.get("batches", 0), state.get("gradients", {})

    def put_gradients(self, model: nn.Module) -> None:
        """Give the model the gradients of the state resumed from, once; the engine has cleared them before."""
        for name, parameter in model.named_parameters() if self._resumed else ():
            if name in self._resumed:
                parameter.grad = torch.empty_like(parameter, requires_grad=False).copy_(self._resumed[name])
        self._resumed = {}
