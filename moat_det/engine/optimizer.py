"""Parameter groups fit for a network of convolutions and attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import nn

from moat_det.backbones.base import Backbone
from moat_det.errors import UserError

_OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    name.lower(): getattr(torch.optim, name) for name in ("AdamW", "Adam", "Adamax", "NAdam", "RAdam", "RMSprop", "SGD")
}


class OnBackbone(Protocol):
    """A model that may stand on a backbone."""

    @property
    def backbone(self) -> Backbone | None:
        """The backbone."""

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """Give the parameters of all of it."""


def split_parameters(model: OnBackbone) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Divide the trainable parameters into those that decay and those that do not.

    Decay pulls weights towards zero. That is meant for matrices and kernels. The scales of norms and the biases have
    no redundancy to give up; what else shall not decay, the backbone says.

    Returns:
        Kernels and matrices; norms, biases and the backbone's exceptions.
    """
    backbone = model.backbone
    exempt = {backbone.get_parameter(name) for name in backbone.no_weight_decay()} if backbone else set()
    decay: list[nn.Parameter] = []
    no_decay: list[nn.Parameter] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            (no_decay if parameter.ndim < 2 or parameter in exempt else decay).append(parameter)
    return decay, no_decay


def layer_distances(backbone: Backbone) -> dict[nn.Parameter, int]:
    """Count the backbone's layers by their distance from the neck.

    Returns:
        Parameter -> 1 in the last block, 2 in the one before, and so on to the stem. Neck and head, which are no
        layers of the backbone, are not in it.
    """
    return {p: distance for distance, layer in enumerate(reversed(backbone.group_parameters()), 1) for p in layer}


def build_optimizer(
    model: OnBackbone, name: str, lr: float, momentum: float, decay: float, layer_decay: float = 1.0
) -> torch.optim.Optimizer:
    """Make the optimizer.

    Args:
        model: Whose trainable parameters to optimize.
        name: AdamW (also "auto"), Adam, Adamax, NAdam, RAdam, RMSprop or SGD, in any case.
        lr: Learning rate after the warm-up.
        momentum: Momentum, or Adam's first beta.
        decay: Weight decay of kernels and matrices.
        layer_decay: Factor on the learning rate for each layer of the backbone on the way from the neck to the stem,
            over 0 and at most 1 (Clark et al., ELECTRA, arXiv 2003.10555).

    Returns:
        The optimizer. Its groups stand in the order of their learning rates, those of neck and head first, so that
        the first two are the same with layer decay and without.

    Raises:
        UserError: There is no such optimizer.
    """
    key = "adamw" if str(name).lower() == "auto" else str(name).lower()
    if key not in _OPTIMIZERS:
        known = ", ".join(kind.__name__ for kind in _OPTIMIZERS.values())
        raise UserError(f"--optimizer {name}: there is no such optimizer here; there are {known}")
    distances = layer_distances(model.backbone) if layer_decay != 1 and model.backbone else {}
    groups: list[dict[str, Any]] = []
    for distance in range(max(distances.values(), default=0) + 1):
        weights, rest = ([p for p in part if distances.get(p, 0) == distance] for part in split_parameters(model))
        rate = lr * layer_decay**distance
        # The engine warms each group up by its label, and sets the decay of "weight" anew when the batch changes.
        groups += [
            {"params": weights, "lr": rate, "weight_decay": decay, "param_group": "weight"},
            {"params": rest, "lr": rate, "weight_decay": 0.0, "param_group": "bn"},
        ]
    kind: Callable[..., torch.optim.Optimizer] = _OPTIMIZERS[key]
    if key == "sgd":
        return kind(groups, lr=lr, momentum=momentum, nesterov=True)
    if key == "rmsprop":
        return kind(groups, lr=lr, momentum=momentum)
    return kind(groups, lr=lr, betas=(momentum, 0.999))
