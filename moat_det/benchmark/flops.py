"""Floating-point operations of a detector: those of its convolutions and matrix products, two for a multiply-add."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_flops(model: nn.Module, height: int, width: int, channels: int = 3) -> int:
    """Count while the model looks at one image; norms, activations and the like are left out, which are few.

    Args:
        model: In evaluation mode, on the CPU.
        height: Of the image in pixels, as the model gets it.
        width: The same.
        channels: Of the image.
    """
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(torch.zeros(1, channels, height, width))
    return counter.get_total_flops()
