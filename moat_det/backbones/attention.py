"""Multi-head self-attention in windows, with a relative position bias.

Official file: `model/layers/moat_attention.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moat_det.backbones.windows import Window, join, split

HEAD_SIZE = 32


def relative_position_bias(table: Tensor, window: tuple[int, int]) -> Tensor:
    """Spreads a table of relative positions over every pair of cells in a window.

    Args:
        table: (N, 2P - 1, 2P - 1), the bias of N heads by the rows and columns from query to key.
        window: Rows h and columns w; the table is resized bilinearly to (N, 2h - 1, 2w - 1) first.

    Returns:
        (N, h * w, h * w), query by key.
    """
    h, w = window
    size = (2 * h - 1, 2 * w - 1)
    if table.shape[1:] != size:
        table = F.interpolate(table[None].float(), size, mode="bilinear", align_corners=False)[0]
    # Entry (i, j, x, y) is table[x - i + h - 1, y - j + w - 1]: a window sliding backwards over the table.
    return table.unfold(1, h, 1).unfold(2, w, 1).flip(1, 2).reshape(-1, h * w, h * w)


def attend(
    q: Tensor, k: Tensor, v: Tensor, table: Tensor | None, window: tuple[int, int], own: Tensor | None
) -> Tensor:
    """Attends within windows; softmax in float32.

    Args:
        q: Queries (B * n, N, h * w, K) of n windows per image; keys and values alike.
        k: Keys.
        v: Values.
        table: Relative position table (N, 2P - 1, 2P - 1), or None for no bias.
        window: Rows h and columns w of a window.
        own: Which cells may be attended to, bool (n, h * w); None for all.

    Returns:
        (B * n, N, h * w, K).
    """
    mask = None if table is None else relative_position_bias(table, window).to(q.dtype)
    if own is not None:
        barred = torch.zeros(own.shape, dtype=q.dtype, device=q.device).masked_fill(~own, float("-inf"))
        barred = barred[:, None, None]
        mask = barred if mask is None else mask + barred
        mask = mask.repeat(q.shape[0] // own.shape[0], 1, 1, 1)
    return F.scaled_dot_product_attention(q, k, v, mask)


class Attention(nn.Module):
    """Self-attention of C / 32 heads within windows of the map.

    Args:
        channels: C, a multiple of the head size if the heads are to use all of it.
        window: Rows and columns of a window; None for the whole map.
        position_range: P: the position table has 2P - 1 rows and columns; None for no position bias.
    """

    def __init__(self, channels: int, window: Window, position_range: int | None) -> None:
        super().__init__()
        self.window = window
        self.heads = channels // HEAD_SIZE
        self.q = nn.Linear(channels, channels)
        self.k = nn.Linear(channels, channels)
        self.v = nn.Linear(channels, channels)
        self.o = nn.Linear(channels, channels)
        self.relative_position_embedding: nn.Parameter | None = None
        if position_range is not None:
            side = 2 * position_range - 1
            self.relative_position_embedding = nn.Parameter(torch.empty(self.heads, side, side))

    def forward(self, x: Tensor) -> Tensor:
        """Attends within the windows of a map (B, H, W, C), padded and masked where they do not fill it."""
        size = (x.shape[1], x.shape[2])
        window = self.window or size
        x, own = split(x, window)
        q, k, v = (self._heads(layer(x)) for layer in (self.q, self.k, self.v))
        x = attend(q, k, v, self.relative_position_embedding, window, own)
        return join(self.o(x.transpose(1, 2).flatten(2)), window, size)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)
