"""What a bin of the box distribution stands for: strides near the anchor point, a growing step farther out."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class DistanceScale:
    """Positions among the bins <-> distances in strides, from an anchor point to a side of its box.

    A bin is one stride wide at the anchor point, and far from it as wide as a fixed share of its distance:
    `strides = s * sinh(bins / s)`, with `s` such that the last bin lies at `reach`. Small boxes keep the resolution of
    the plain scale, long ones get the same relative one, and 16 bins suffice for both. The expected position is
    taken before the scale is applied, so that a little probability left in a far bin costs a fraction of a bin instead
    of a share of `reach`.

    Args:
        reg_max: Number of bins; 1 stands for no distribution, a plain number for each side.
        reach: Strides that the last bin stands for, more than `reg_max - 1`; None makes every bin one stride wide.
    """

    def __init__(self, reg_max: int, reach: float | None = None) -> None:
        self._bins = reg_max
        self._s = None if reach is None else _scale(reg_max - 1, reach)

    def to_strides(self, bins: Tensor) -> Tensor:
        """Give distances in strides at positions `bins`; odd, so that a sign is kept."""
        if self._s is None:
            return bins
        u = bins / self._s
        return self._s / 2 * (u.exp() - (-u).exp())  # torch.sinh has no ONNX form in the exporter by tracing

    def to_bins(self, strides: Tensor) -> Tensor:
        """Give positions among the bins of distances in strides: the inverse of `to_strides`."""
        return strides if self._s is None else self._s * torch.asinh(strides / self._s)

    def widths(self) -> Tensor:
        """Give the strides that one step between bins makes at each of the bins, (reg_max,)."""
        bins = torch.arange(self._bins, dtype=torch.float32, device="cpu")
        return torch.ones_like(bins) if self._s is None else torch.cosh(bins / self._s)


def _scale(last: float, reach: float) -> float:
    """Solve `s * sinh(last / s) = reach` for `s`, with `reach` above `last` (at s = infinity).

    With u = last / s the ratio sinh(u) / u grows with u: bisection.
    """
    low, high = 0.0, 1.0
    while math.sinh(high) / high < reach / last:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if math.sinh(middle) / middle < reach / last else (low, middle)
    return last / high
