"""Multiply-adds of a backbone, counted while it runs, in the convention of the official table of checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from moat_det.backbones.moat.attention import Attention
from moat_det.backbones.moat.backbone import MOATBackbone
from moat_det.backbones.moat.blocks import MBConv, MOATBlock, Stem
from moat_det.backbones.moat.layers import SqueezeExcite
from moat_det.backbones.moat.partition import tiles, window_for

OFFICIAL_BATCH = 8
"""Images in the official measurement, which spreads work done once a batch over them."""

_GELU = 4
_SOFTMAX = 5
_BATCH_NORM = 2
_LAYER_NORM = 9


@dataclass
class MultiplyAdds:
    """Work of one forward pass with one image.

    Attributes:
        products: Multiply-adds of convolutions and matrix products.
        once_per_batch: Multiply-adds with which the official code spreads its position tables, once a batch.
        elementwise: Single operations on elements: norms, activations, softmax, pooling, biases, additions.
    """

    products: int = 0
    once_per_batch: int = 0
    elementwise: int = 0

    @property
    def official(self) -> float:
        """The official figure: half of what TensorFlow's profiler counts in a batch of 8, for one image."""
        return self.products + self.once_per_batch / OFFICIAL_BATCH + self.elementwise / 2


@torch.no_grad()
def count_multiply_adds(backbone: MOATBackbone, height: int, width: int) -> MultiplyAdds:
    """Run a backbone on one image and count; on the meta device this costs neither memory nor time.

    Attention counts as the two products of a query with every key and value of its window, whatever way it
    takes to them. Work per channel instead of per pixel, under 0.1 % in all, is left out.

    Args:
        backbone: Any MOAT, on any device; with its head if it has one.
        height: Rows of the image in pixels.
        width: Columns of the image in pixels.
    """
    total = MultiplyAdds()
    training = backbone.training
    hooks = [
        module.register_forward_hook(lambda module, args, out: _add(total, module, args[0], out))
        for module in backbone.modules()
    ]
    try:
        weight = next(backbone.parameters())
        backbone.eval()(weight.new_zeros(1, len(backbone.mean), height, width))
    finally:
        backbone.train(training)
        for hook in hooks:
            hook.remove()
    return total


def _add(total: MultiplyAdds, module: nn.Module, x: Tensor, out: Tensor) -> None:
    """Add the work of one module on x, without that of the modules inside it."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        total.products += out.numel() * module.weight[0].numel()
        if module.bias is not None:
            total.elementwise += out.numel()
    elif isinstance(module, nn.BatchNorm2d):
        total.elementwise += _BATCH_NORM * x.numel()
    elif isinstance(module, nn.LayerNorm):
        total.elementwise += _LAYER_NORM * x.numel()
    elif isinstance(module, Stem):
        activated = [getattr(module, f"conv_{number}").out_channels for number in range(module.last)]
        total.elementwise += _GELU * out[:, 0].numel() * sum(activated)
    elif isinstance(module, SqueezeExcite):
        total.elementwise += 2 * x.numel()  # the mean and the gate
    elif isinstance(module, MBConv):
        total.elementwise += _GELU * module.depthwise_conv.out_channels * (x[:, 0].numel() + out[:, 0].numel())
        if module.stride == 2:
            total.elementwise += module.pool_size**2 * out[:, 0].numel() * x.shape[1]
        residuals = 2 if isinstance(module, MOATBlock) else 1
        total.elementwise += residuals * out.numel()
    elif isinstance(module, Attention):
        _add_attention(total, module, x)


def _add_attention(total: MultiplyAdds, module: Attention, x: Tensor) -> None:
    rows, cols, channels = x.shape[1:]
    h, w = window_for(module.window, (rows, cols))
    down = sum((part.stop - part.start) * window for part, window in tiles(rows, h))
    across = sum((part.stop - part.start) * window for part, window in tiles(cols, w))
    pairs = down * across  # of a query and a key
    heads = module.heads
    total.products += 2 * pairs * channels
    total.elementwise += rows * cols * channels  # the scale of the queries
    total.elementwise += _SOFTMAX * heads * pairs
    if module.relative_position_embedding is not None:
        total.elementwise += heads * pairs
        # a one-hot matrix for the rows, then one for the columns
        total.once_per_batch += heads * h * h * (2 * w - 1) * (2 * h - 1 + w * w)
