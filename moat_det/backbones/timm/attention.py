"""Chooses how attention in timm's networks is computed, by the switch that its modules have."""

from __future__ import annotations

from typing import Any

from torch import nn

from moat_det.backbones.few_tokens import learns_faster_plainly

_SWITCH = "fused_attn"


def choose_attention(net: nn.Module) -> None:
    """Let every attention choose between torch's fused kernel and the textbook at each pass, in place."""
    for module in net.modules():
        if getattr(module, _SWITCH, False):
            module.register_forward_pre_hook(_choose)


def _choose(module: nn.Module, inputs: tuple[Any, ...]) -> None:
    x = inputs[0]
    tokens = x[0].numel() // _channels(module)  # whatever the order of its dimensions
    fused = not learns_faster_plainly(x, tokens)
    if getattr(module, _SWITCH) != fused:  # an export may not see a change
        setattr(module, _SWITCH, fused)


def _channels(module: nn.Module) -> int:
    """Give the channels of what a module takes, by its first layer."""
    layer = next(each for each in module.modules() if isinstance(each, (nn.Linear, nn.Conv2d)))
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
