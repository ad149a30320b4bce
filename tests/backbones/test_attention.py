"""Windowed attention against one written out cell by cell."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from moat_det.backbones.attention import Attention
from moat_det.backbones.windows import join, split


def reference(attention: Attention, x: Tensor, window: tuple[int, int]) -> Tensor:
    """Attends from each cell to the cells of the map in its window, and to nothing else."""
    rows, cols = x.shape[1:3]
    h, w = window
    table = attention.relative_position_embedding
    if table is not None:
        table = F.interpolate(table[None], (2 * h - 1, 2 * w - 1), mode="bilinear", align_corners=False)[0]
    q, k, v = (layer(x).unflatten(-1, (attention.heads, 32)) for layer in (attention.q, attention.k, attention.v))
    out = torch.empty_like(q)
    for i in range(rows):
        for j in range(cols):
            top, left = i // h * h, j // w * w
            mine = (slice(None), slice(top, min(top + h, rows)), slice(left, min(left + w, cols)))
            logits = torch.einsum("bnk,byxnk->bnyx", q[:, i, j] * 32**-0.5, k[mine])
            if table is not None:
                down, right = h - 1 - (i - top), w - 1 - (j - left)
                logits = logits + table[:, down:, right:][:, : logits.shape[2], : logits.shape[3]]
            share = logits.flatten(2).softmax(-1).view_as(logits)
            out[:, i, j] = torch.einsum("bnyx,byxnk->bnk", share, v[mine])
    return attention.o(out.flatten(3))


@torch.no_grad()
@pytest.mark.parametrize("positions", [True, False])
@pytest.mark.parametrize(
    ("size", "window"),
    [
        ((6, 8), (3, 4)),  # the windows fill the map
        ((20, 20), (14, 14)),  # padded on both axes
        ((6, 9), (6, 4)),  # padded to the right
        ((7, 8), (3, 8)),  # padded at the bottom
        ((3, 5), (7, 7)),  # the map is smaller than a window
        ((5, 3), None),
        ((1, 1), (1, 1)),
    ],
)
def test_equals_the_reference(size: tuple[int, int], window: tuple[int, int] | None, positions: bool) -> None:
    torch.manual_seed(0)
    attention = Attention(64, window, 4 if positions else None)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=1 if parameter.ndim == 3 else 0.2)
    x = torch.randn(2, *size, 64)
    torch.testing.assert_close(attention(x), reference(attention, x, window or size), rtol=1e-4, atol=1e-4)


def test_join_undoes_split() -> None:
    x = torch.randn(2, 9, 10, 3)
    tokens, own = split(x, (4, 3))
    assert tokens.shape == (2 * 3 * 4, 12, 3)
    assert own is not None
    assert own.sum() == 90
    assert torch.equal(join(tokens, (4, 3), (9, 10)), x)
    assert torch.equal(tokens[1].view(4, 3, 3), x[0, :4, 3:6])
    assert split(x, (3, 5))[1] is None
