"""Multi-head self-attention in windows, with a relative position bias.

Official file: `model/layers/moat_attention.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moat_det.backbones.few_tokens import learns_faster_plainly
from moat_det.backbones.moat.blocked_attention import blocked_attention
from moat_det.backbones.moat.layers import is_exporting
from moat_det.backbones.moat.partition import cut, join, pad, tiles, window_for
from moat_det.backbones.moat.variants import HEAD_SIZE
from moat_det.backbones.position_bias import FittedTables, crop_table, fit_table, gather_bias
from moat_det.backbones.windows import Window


def attend(q: Tensor, k: Tensor, v: Tensor, table: Tensor | None, size: tuple[int, int]) -> Tensor:
    """Attend within maps of size cells, in memory that grows linearly with their cells.

    Args:
        q: Queries (B, N, h * w, K), not yet scaled by K ** -0.5; keys and values alike.
        k: Keys.
        v: Values.
        table: Bias (N, 2h - 1, 2w - 1) by the rows and columns from query to key (see `fit_table`); None for no bias.
        size: Rows h and columns w.

    Returns:
        (B, N, h * w, K).
    """
    if table is None:
        plainly = learns_faster_plainly(q, q.shape[2])
        return attend_plain(q, k, v, None, size) if plainly else F.scaled_dot_product_attention(q, k, v)
    return blocked_attention(q, k, v, table, *size)


def attend_plain(
    q: Tensor, k: Tensor, v: Tensor, table: Tensor | None, size: tuple[int, int], mask: Tensor | None = None
) -> Tensor:
    """Do what `attend` does by the textbook, with a matrix of all pairs of cells. Softmax in float32 at least.

    Args:
        q: As there; so are k, v, table and size.
        k: Keys.
        v: Values.
        table: Bias.
        size: Rows and columns.
        mask: What is added to the logits, (B, 1, 1, h * w): minus infinity at keys that count for nothing.
    """
    logits = torch.matmul(q * q.shape[3] ** -0.5, k.transpose(2, 3))
    if table is not None:
        logits = logits + gather_bias(table, size)
    if mask is not None:
        logits = logits + mask
    return torch.matmul(logits.to(torch.promote_types(q.dtype, torch.float32)).softmax(-1).to(v.dtype), v)


class Attention(nn.Module):
    """Self-attention of C / head size heads within windows of the map.

    Args:
        channels: C, a multiple of the head size.
        position_range: P: the position table has 2P - 1 rows and columns; None for no position bias.
        window: The windows; None for the whole map.
        head_size: Channels of a head.

    Attributes:
        window: As given; may be changed at any time.
        reach: Rows and columns of the largest window that the position table is stretched to (see `fit_table`).
    """

    def __init__(
        self, channels: int, position_range: int | None, window: Window = None, head_size: int = HEAD_SIZE
    ) -> None:
        super().__init__()
        self.window = window
        self.reach: tuple[int, int] | None = None
        self.heads = channels // head_size
        self.q = nn.Linear(channels, channels)
        self.k = nn.Linear(channels, channels)
        self.v = nn.Linear(channels, channels)
        self.o = nn.Linear(channels, channels)
        self.relative_position_embedding: nn.Parameter | None = None
        if position_range is not None:
            side = 2 * position_range - 1
            self.relative_position_embedding = nn.Parameter(torch.empty(self.heads, side, side))
        self._fitted = FittedTables()

    def forward(self, x: Tensor) -> Tensor:
        """Attend within the windows of a map (B, H, W, C), the last of which end where the map does."""
        size = (x.shape[1], x.shape[2])
        window = window_for(self.window, size)
        table = self._table(window)
        if is_exporting():
            return self.o(self._attend_plainly(x, window, table))
        bands = []
        for rows, h in tiles(size[0], window[0]):
            band = [self._attend(x[:, rows, cols], (h, w), table) for cols, w in tiles(size[1], window[1])]
            bands.append(_concatenate(band, 2))
        return self.o(_concatenate(bands, 1))

    def _attend(self, x: Tensor, window: tuple[int, int], table: Tensor | None) -> Tensor:
        """Attend within the windows that fill a map."""
        tokens = cut(x, window)
        q, k, v = (layer(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        out = attend(q, k, v, None if table is None else crop_table(table, window), window)
        return join(out.transpose(1, 2).flatten(2), window, (x.shape[1], x.shape[2]))

    def _attend_plainly(self, x: Tensor, window: tuple[int, int], table: Tensor | None) -> Tensor:
        """Attend by operators that every runtime has, in all windows at once; padded cells are keys to none."""
        size, mask = (x.shape[1], x.shape[2]), None
        padded = pad(x, window)
        if padded is not x:
            inside = pad(x.new_zeros(1, *size, 1), window, -torch.inf)
            mask = cut(inside, window)[:, None, None, :, 0].repeat(x.shape[0], 1, 1, 1)
        tokens = cut(padded, window)
        q, k, v = (layer(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        out = attend_plain(q, k, v, table, window, mask)
        joined = join(out.transpose(1, 2).flatten(2), window, (padded.shape[1], padded.shape[2]))
        return joined[:, : size[0], : size[1]]

    def _table(self, window: tuple[int, int]) -> Tensor | None:
        table = self.relative_position_embedding
        if table is None:
            return None
        learns = torch.is_grad_enabled() and table.requires_grad
        if learns or is_exporting() or torch.compiler.is_compiling():
            return fit_table(table, window, self.reach)
        return self._fitted.fit(table, window, self.reach)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Attention:
        self._fitted.clear()  # `to` and its like change content without a trace in the version
        return super()._apply(fn, recurse)


def _concatenate(parts: list[Tensor], dim: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)
