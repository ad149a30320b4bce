"""Batch norms folded into the convolutions beside them, for inference: the same function in fewer passes over the maps.

The norms inside the engine's own blocks (`Conv` in the neck and the head) are folded by the engine.
"""

from __future__ import annotations

from torch import Tensor, nn

from moat_det.backbones.moat.blocks import MBConv, Stem
from moat_det.detector.neck import PAN


def fold_norms(model: nn.Module) -> None:
    """Fold the batch norms of the backbone's blocks and of the neck's inputs; identities stand in their places.

    The model must be in evaluation mode. It cannot be trained afterwards, and its weights fit no unfolded model.

    Args:
        model: Changed in place.
    """
    for module in model.modules():
        if isinstance(module, Stem):
            _fold_behind(module.conv_0, module.norm_0)
            _drop(module, "norm_0")
        elif isinstance(module, MBConv):
            _fold_behind(module.expand_conv, module.expand_norm)
            _fold_behind(module.depthwise_conv, module.depthwise_norm)
            _fold_before(module.pre_norm, module.expand_conv)
            _drop(module, "expand_norm", "depthwise_norm", "pre_norm")
        elif isinstance(module, PAN):
            for index, lateral in enumerate(module.lateral):
                _fold_before(module.normalize[index], lateral.conv)
                _drop(module.normalize, str(index))


def _drop(block: nn.Module, *norms: str) -> None:
    for name in norms:
        setattr(block, name, nn.Identity())


def _scale_and_shift(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """A norm in evaluation is x * scale + shift: both in float64, by channel, on the CPU (not every device has it)."""
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.cpu().double() / (norm.running_var.cpu().double() + norm.eps).sqrt()
    return scale, norm.bias.cpu().double() - norm.running_mean.cpu().double() * scale


def _fold_behind(conv: nn.Conv2d, norm: nn.Module) -> None:
    """Let `conv` do what it does with `norm` behind it."""
    scale, shift = _scale_and_shift(norm)
    bias = 0 if conv.bias is None else conv.bias.cpu().double() * scale
    _replace(conv, conv.weight.cpu().double() * scale.view(-1, 1, 1, 1), bias + shift)


def _fold_before(norm: nn.Module, conv: object) -> None:
    """Let `conv`, of kernel 1, do what it does with `norm` before it; padding would meet zeros that are not shifted."""
    assert isinstance(conv, nn.Conv2d)
    assert conv.kernel_size == (1, 1)
    scale, shift = _scale_and_shift(norm)
    weight = conv.weight.cpu().double()
    bias = 0 if conv.bias is None else conv.bias.cpu().double()
    _replace(conv, weight * scale.view(1, -1, 1, 1), bias + weight.flatten(1) @ shift)


def _replace(conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> None:
    old = conv.weight
    conv.weight = nn.Parameter(weight.detach().to(old), requires_grad=False)
    conv.bias = nn.Parameter(bias.detach().to(old), requires_grad=False)
