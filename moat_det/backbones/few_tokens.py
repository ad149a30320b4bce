"""Attention among few tokens, which torch's fused kernel learns slowly on a CPU in bfloat16."""

from __future__ import annotations

import torch
from torch import Tensor

FEW = 256
"""Tokens up to which its gradient is faster by the textbook: 8 times among 16, 4 among 49, 1.1 among 256."""


def learns_faster_plainly(x: Tensor, tokens: int) -> bool:
    """Whether attention among so many tokens of x is to be computed with a matrix of all pairs of them.

    Args:
        x: The tokens, or what they are made of, in any shape.
        tokens: Of a window.
    """
    if x.device.type != "cpu" or not torch.is_grad_enabled() or tokens > FEW:
        return False
    autocast = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    return autocast or x.dtype == torch.bfloat16
