"""A backbone with a classification head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from moat_det.backbones import create_backbone
from moat_det.backbones.base import Backbone
from moat_det.backbones.moat.backbone import MOATBackbone
from moat_det.detector.detector import BN_MOMENTUM, InputNormalization

_EPSILON = 1e-6
_HEAD_STD = 0.02


class Classifier(nn.Module):
    """A backbone, the mean of its last map, a layer norm, and a score for each class: MOAT's own head, for all.

    Args:
        backbone: Without a head.
        classes: How many.
    """

    def __init__(self, backbone: Backbone, classes: int) -> None:
        super().__init__()
        last = backbone.feature_info[-1]
        epsilon = backbone.variant.norm_eps if isinstance(backbone, MOATBackbone) else _EPSILON
        self.normalize = InputNormalization(backbone.mean, backbone.std)
        self.backbone: Backbone = backbone
        self._last = last.module
        self.final_layer_norm = nn.LayerNorm(last.num_chs, epsilon)
        self.logits_head = nn.Linear(last.num_chs, classes)
        nn.init.normal_(self.logits_head.weight, std=_HEAD_STD)
        nn.init.zeros_(self.logits_head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits (B, classes), float32, of RGB (B, 3, H, W): uint8, or floating in [0, 1]."""
        maps = self.backbone(self.normalize(x.contiguous(memory_format=torch.channels_last)))
        with torch.autocast(x.device.type, enabled=False):
            logits: Tensor = self.logits_head(self.final_layer_norm(maps[self._last].float().mean((2, 3))))
        return logits


def build_classifier(arguments: Mapping[str, Any], classes: int) -> Classifier:
    """Build a classifier with random weights.

    Args:
        arguments: Of `create_backbone`.
        classes: How many.

    Raises:
        UserError: An argument is not in order.
    """
    backbone = create_backbone(**arguments)
    backbone.init_weights()
    model = Classifier(backbone, classes)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = BN_MOMENTUM
    return model
