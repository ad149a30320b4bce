"""Batch norms folded into the convolutions beside them, for inference: the same function in fewer passes over the maps.

The norms must be in evaluation mode. What is folded cannot be trained, and its weights fit nothing unfolded.
"""

from __future__ import annotations

from torch import Tensor, nn


def fold_behind(conv: nn.Conv2d, norm: nn.Module) -> None:
    """Let `conv` do what it does with `norm` behind it."""
    scale, shift = _scale_and_shift(norm)
    bias = 0 if conv.bias is None else conv.bias.cpu().double() * scale
    _replace(conv, conv.weight.cpu().double() * scale.view(-1, 1, 1, 1), bias + shift)


def fold_before(norm: nn.Module, conv: object) -> None:
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


def _scale_and_shift(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Give scale and shift of a norm in evaluation, by channel: float64, on the CPU (not every device has it)."""
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.cpu().double() / (norm.running_var.cpu().double() + norm.eps).sqrt()
    return scale, norm.bias.cpu().double() - norm.running_mean.cpu().double() * scale
