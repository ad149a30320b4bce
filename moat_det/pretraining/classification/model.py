"""A backbone with a classification head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from moat_det.backbones import create_backbone
from moat_det.backbones.base import Backbone
from moat_det.backbones.moat.backbone import MOATBackbone
from moat_det.backbones.timm.names import is_timm
from moat_det.detector.config import load_config
from moat_det.detector.detector import BN_MOMENTUM, InputNormalization
from moat_det.errors import UserError

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


def backbone_arguments(name: str, drop_path: float | None) -> dict[str, Any]:
    """Give the arguments of `create_backbone` that a name stands for.

    Args:
        name: A backbone of ours, `timm/NAME`, the name of a model YAML (mobilevit_xs), or the path of one.
        drop_path: Rate of dropped branches at the end of the network; None for the backbone's own.

    Raises:
        UserError: There is no such name or file, or it names no backbone.
    """
    found: Any = name if is_timm(name) else load_config(name).get("backbone")
    arguments = {"name": found} if isinstance(found, str) else found
    if not isinstance(arguments, Mapping) or not isinstance(arguments.get("name"), str):
        raise UserError(f"--backbone {name}: it names no backbone of ours or of timm's")
    timms = is_timm(arguments["name"])
    # MOAT's pooling in the shortcuts is another one for classification than for detection, without weights.
    more: dict[str, Any] = {} if timms else {"pool_size": 2}
    if drop_path is not None:
        more["drop_path_rate" if timms else "drop_path"] = drop_path
    return {**more, **arguments}


def build_classifier(arguments: Mapping[str, Any], classes: int) -> Classifier:
    """Build a classifier with random weights.

    Args:
        arguments: Of `create_backbone`, as `backbone_arguments` gives them.
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
