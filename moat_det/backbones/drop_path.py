"""Stochastic depth (Huang et al., arXiv 1603.09382), for MOAT and for networks of timm."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """Drops the whole branch of a sample with probability `rate` in training and scales the kept ones up.

    Args:
        rate: From 0 to 1.
        scale_by_keep: Whether kept branches are scaled up, by 1 / (1 - rate).

    Attributes:
        share: Where several processes share a batch: the position in it of the first sample here, and how many it
            has. Each draws for all of them, so that a sample's fate does not depend on who computes it.
    """

    share: tuple[int, int] | None = None

    def __init__(self, rate: float, scale_by_keep: bool = True) -> None:
        super().__init__()
        self.rate = rate
        self.scale_by_keep = scale_by_keep

    def forward(self, x: Tensor) -> Tensor:
        """Return x of any shape (B, ...), or in training with some samples zeroed."""
        if not self.training or self.rate == 0:
            return x
        keep = 1 - self.rate
        first, samples = self.share or (0, x.shape[0])
        mask = torch.empty(samples, *[1] * (x.ndim - 1), dtype=x.dtype, device=x.device).bernoulli_(keep)
        mask = mask[first : first + x.shape[0]]
        # divided apart from the mask: 1 / keep rounded to bfloat16 would scale every branch wrongly
        return x / keep * mask if self.scale_by_keep and keep > 0 else x * mask

    def extra_repr(self) -> str:
        """Show the rate in the printed model."""
        return f"rate={self.rate:.4g}"
