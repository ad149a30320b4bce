"""What the losses of a batch are divided by: its own target scores, or their running mean over the batches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from moat_det.engine.distributed.group import ALONE, Group


class LossNormalizer:
    """Lets a criterion divide by a running mean instead of each batch's own sum of target scores.

    Divided by its own sum, each batch moves the model as far as any other, be it for one object or for ten. Divided by
    the mean, each object does. A batch without objects is divided by the mean too, and not by 1.

    Source: the normalizer of RetinaNet in Detectron2 (Wu et al., 2019), whose momentum has this name.

    Args:
        momentum: Share of the mean that is kept at a batch, in (0, 1).
    """

    def __init__(self, momentum: float) -> None:
        self._momentum = momentum
        self._mean: Tensor | None = None
        self._scores = torch.zeros(())
        self._criterion: Any = None
        self._own: Any = None
        self._group = ALONE

    def attach(self, criterion: Any, group: Group) -> None:
        """Take over the losses of a criterion, unless that is done; it may already share them with other processes.

        Args:
            criterion: Of a dense head: its `assigner` gives the target scores.
            group: The processes that have each batch in common.
        """
        if criterion is self._criterion:
            return
        self._criterion, self._own, self._group = criterion, criterion.loss, group
        criterion.assigner.register_forward_hook(self._remember)
        criterion.loss = self

    def _remember(self, assigner: nn.Module, inputs: Any, targets: tuple[Tensor, ...]) -> None:
        self._scores = targets[2].sum()

    def __call__(self, preds: dict[str, Tensor], batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss; what is shown of it stays divided by the batch's own scores."""
        loss, items = self._own(preds, batch)
        if not torch.is_grad_enabled():  # in validation
            return loss, items
        scores = self._group.sum(self._scores * bool(batch["share"].images))
        if scores.isfinite():
            mean = scores if self._mean is None else self._mean
            self._mean = self._momentum * mean + (1 - self._momentum) * scores
        mean = scores if self._mean is None else self._mean
        return loss * (scores.clamp(min=1) / mean.clamp(min=1)), items

    def state(self) -> float | None:
        """Give what a checkpoint keeps: the mean, None before the first batch."""
        return None if self._mean is None else float(self._mean)

    def resume(self, state: float | None) -> None:
        """Go on from `state`."""
        self._mean = None if state is None else torch.tensor(state)
