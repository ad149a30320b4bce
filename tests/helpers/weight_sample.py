"""Weights to load: a backbone with no trivial value, and what an official checkpoint of it would hold."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from moat_det.backbones import MOATBackbone, create_backbone
from moat_det.backbones.weights.files import TensorFlowFile
from moat_det.backbones.weights.layout import variable_name, variable_view


def random_backbone(name: str = "tiny_moat0", *, num_classes: int | None = 1000, **arguments: object) -> MOATBackbone:
    """A backbone whose norms and statistics are random too."""
    torch.manual_seed(1)
    backbone = create_backbone(name, num_classes=num_classes, **arguments)
    for tensor in backbone.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.1, 1)
    return backbone


def weights_of(backbone: MOATBackbone) -> dict[str, Tensor]:
    """The state dict without counters."""
    return {k: t for k, t in backbone.state_dict().items() if not k.endswith("num_batches_tracked")}


def official(backbone: MOATBackbone) -> dict[str, Tensor]:
    """The backbone's weights by their official names, in TensorFlow's layout."""
    return {variable_name(key): variable_view(key, t).clone() for key, t in weights_of(backbone).items()}


def open_official(variables: dict[str, Tensor]) -> TensorFlowFile:
    """What opening an official checkpoint of these variables gives."""
    shapes = {name: tuple(t.shape) for name, t in variables.items()}
    return TensorFlowFile(Path("sample.tar.gz"), shapes, variables.__getitem__)
