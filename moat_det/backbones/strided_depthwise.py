"""Depthwise convolutions of stride 2, with a fast gradient in bfloat16 on a CPU.

For the gradient of their input oneDNN has no kernel in bfloat16: its plain loops take 20 to 180 times as long as the
convolution, which was a quarter of a training step of tiny_moat0. That gradient is a convolution too, of the output's
gradient with zeros between its cells, and this one is fast.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def strided_conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], padding: tuple[int, int], groups: int
) -> Tensor:
    """Convolve as `torch.nn.functional.conv2d` does, with the same gradients.

    Args:
        x: (B, Cin, H, W).
        weight: (Cout, Cin / groups, rows, columns).
        bias: (Cout), or None.
        stride: Down and across.
        padding: Zeros above and below, left and right; fewer than the kernel has rows, columns.
        groups: Of channels; as many as Cin and Cout in a depthwise convolution.

    Returns:
        (B, Cout, (H + 2 padding - rows) // stride + 1, likewise across).
    """
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    depthwise = weight.shape[1] == 1 and weight.shape[0] == groups and max(stride) > 1
    slow = depthwise and x.device.type == "cpu" and dtype == torch.bfloat16 and x.requires_grad
    if not slow or torch.compiler.is_compiling():
        return F.conv2d(x, weight, bias, stride, padding, groups=groups)
    bias = None if bias is None else bias.to(dtype)
    result: Tensor = StridedDepthwise.apply(x.to(dtype), weight.to(dtype), bias, stride, padding)
    return result


class StridedDepthwise(torch.autograd.Function):
    """A depthwise convolution, x (B, C, H, W) with weight (C, 1, rows, columns); its gradient by `spread`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], padding: tuple[int, int]
    ) -> Tensor:
        """Convolve, see `strided_conv2d`."""
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding, ctx.biases = stride, padding, None if bias is None else list(bias.shape)
        return F.conv2d(x, weight, bias, stride, padding, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Give the gradients of x, weight and bias."""
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_x = None
        if ctx.needs_input_grad[0]:
            spread_out = spread(gradient, (x.shape[2], x.shape[3]), weight.shape[2:], ctx.stride, ctx.padding)
            of_x = F.conv2d(spread_out, weight.flip(2, 3), groups=len(weight))
        wanted = [False, ctx.needs_input_grad[1], ctx.needs_input_grad[2]]
        _, of_weight, of_bias = torch.ops.aten.convolution_backward(
            gradient, x, weight, ctx.biases, ctx.stride, ctx.padding, (1, 1), False, (0, 0), len(weight), wanted
        )
        return of_x, of_weight, of_bias, None, None


def spread(
    gradient: Tensor,
    size: tuple[int, int],
    kernel: tuple[int, int] | torch.Size,
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> Tensor:
    """Lay the cells of a convolution's result where its input has the first of their windows, zeros between them.

    Args:
        gradient: (B, C, h, w), for each cell of the result.
        size: H and W of the input.
        kernel: Rows and columns.
        stride: Down and across.
        padding: Likewise.

    Returns:
        (B, C, H + rows - 1, W + columns - 1), channels_last: convolved with the kernel turned by half a circle, without
        padding, it gives the gradient of the input.
    """
    sides = [side + taps - 1 for side, taps in zip(size, kernel, strict=True)]
    canvas = gradient.new_zeros(gradient.shape[0], *sides, gradient.shape[1]).permute(0, 3, 1, 2)
    down, across = (
        slice(taps - 1 - pad, taps - pad + step * (cells - 1), step)
        for taps, pad, step, cells in zip(kernel, padding, stride, gradient.shape[2:], strict=True)
    )
    canvas[:, :, down, across] = gradient
    return canvas
