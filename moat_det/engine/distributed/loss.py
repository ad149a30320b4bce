"""The loss of a batch that several processes share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.utils.loss import E2ELoss, v8DetectionLoss

from moat_det.engine.distributed.group import Group
from moat_det.errors import UserError


def share_loss(criterion: Any, group: Group) -> Any:
    """Let a model's criterion give the loss of all processes' images, to each process its part of it.

    Raises:
        UserError: It is none of a dense head, and there are several processes.
    """
    if group.size == 1:
        return criterion
    parts = [criterion.one2many, criterion.one2one] if isinstance(criterion, E2ELoss) else [criterion]
    for part in parts:
        if not isinstance(part, v8DetectionLoss):
            raise UserError(f"models with {type(part).__name__} train in one process alone: name one --device")
        part.loss = SharedLoss(part, group)
    return criterion


class SharedLoss:
    """The loss of this process's images as its part of that of the whole batch.

    A loss is a sum over anchor points divided by the sum of the target scores. Here that is the sum over all
    processes. As `DistributedDataParallel` takes the mean of the gradients, the part is multiplied by the number of
    processes: their mean is the gradient that one process with all images would have.

    Args:
        criterion: Of this process's images alone.
        group: The processes.
    """

    def __init__(self, criterion: v8DetectionLoss, group: Group) -> None:
        self._own, self._group = criterion.loss, group
        self._scores = torch.zeros(())
        criterion.assigner.register_forward_hook(self._remember)

    def _remember(self, assigner: nn.Module, inputs: Any, targets: tuple[Tensor, ...]) -> None:
        self._scores = targets[2].sum()

    def __call__(self, preds: dict[str, Tensor], batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute this process's part, and the losses of the whole batch to show.

        Args:
            preds: Of the model.
            batch: With this process's `share`.
        """
        loss, items = self._own(preds, batch)
        if not torch.is_grad_enabled():  # in validation, whose batches are one process's alone
            return loss, items
        share = batch["share"]
        own = self._scores.clamp(min=1)
        sums = torch.stack([self._scores, *(item * own for item in items.values())]) * bool(share.images)
        scores, *losses = self._group.sum(sums)
        scores = scores.clamp(min=1)
        images = share.total / max(share.images, 1) * bool(share.images)
        shown = {name: value / scores for name, value in zip(items, losses, strict=True)}
        return loss * (own / scores * images * self._group.size), shown
