"""Windowed attention against forms of it that are written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from moat_det.backbones.moat.attention import Attention, attend, attend_plain
from moat_det.backbones.position_bias import fit_table
from moat_det.backbones.windows import AutoWindow


def lively_attention(window: object = None, positions: bool = True) -> Attention:
    torch.manual_seed(0)
    attention = Attention(64, 4 if positions else None, window)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=1 if parameter.ndim == 3 else 0.2)
    return attention


def cell_by_cell(attention: Attention, x: Tensor, window: tuple[int, int]) -> Tensor:
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


def padded_and_masked(attention: Attention, x: Tensor, window: tuple[int, int], padding: float) -> Tensor:
    """Pads the map with some number, bars the padded keys, attends in every window by all pairs, and crops."""
    b, rows, cols, channels = x.shape
    h, w = window
    down, right = -rows % h, -cols % w
    tall, wide = (rows + down) // h, (cols + right) // w

    def windows(t: Tensor) -> Tensor:
        return t.view(-1, tall, h, wide, w, t.shape[-1]).permute(0, 1, 3, 2, 4, 5).flatten(0, 2).flatten(1, 2)

    padded = F.pad(x, (0, 0, 0, right, 0, down), value=padding)
    real = F.pad(torch.ones(b, rows, cols, 1), (0, 0, 0, right, 0, down))
    tokens, barred = windows(padded), windows(real)[:, None, None, :, 0] == 0
    q, k, v = (
        layer(tokens).view(len(tokens), h * w, attention.heads, 32).transpose(1, 2)
        for layer in (attention.q, attention.k, attention.v)
    )
    logits = (q @ k.mT) * 32**-0.5
    if attention.relative_position_embedding is not None:
        size = (2 * h - 1, 2 * w - 1)
        table = F.interpolate(attention.relative_position_embedding[None], size, mode="bilinear", align_corners=False)
        cell = torch.arange(h * w)
        down_index = cell[None] // w - cell[:, None] // w + h - 1
        right_index = cell[None] % w - cell[:, None] % w + w - 1
        logits = logits + table[0][:, down_index, right_index]
    out = attention.o((logits.masked_fill(barred, float("-inf")).softmax(-1) @ v).transpose(1, 2).flatten(2))
    out = out.view(b, tall, wide, h, w, channels).permute(0, 1, 3, 2, 4, 5).reshape(b, tall * h, wide * w, channels)
    return out[:, :rows, :cols]


@torch.no_grad()
@pytest.mark.parametrize("positions", [True, False])
@pytest.mark.parametrize(
    ("size", "window"),
    [
        ((6, 8), (3, 4)),  # the windows fill the map
        ((20, 20), (14, 14)),  # they reach over both ends
        ((6, 9), (6, 4)),  # over the right one
        ((7, 8), (3, 8)),  # over the bottom
        ((3, 5), (7, 7)),  # the map is smaller than a window
        ((5, 3), None),
        ((1, 1), (1, 1)),
    ],
)
def test_equals_attention_cell_by_cell(size: tuple[int, int], window: tuple[int, int] | None, positions: bool) -> None:
    attention, x = lively_attention(window, positions), torch.randn(2, *size, 64)
    torch.testing.assert_close(attention(x), cell_by_cell(attention, x, window or size), rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("positions", [True, False])
@pytest.mark.parametrize(("size", "window"), [((20, 20), (14, 14)), ((5, 13), (4, 3)), ((3, 5), (7, 7))])
def test_equals_padding_after_the_norm_and_masking(
    size: tuple[int, int], window: tuple[int, int], positions: bool
) -> None:
    """Whatever the padding holds."""
    attention, x = lively_attention(window, positions), torch.randn(2, *size, 64)
    for padding in (0.0, 100.0):
        expected = padded_and_masked(attention, x, window, padding)
        torch.testing.assert_close(attention(x), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_auto_is_full_up_to_its_budget_and_then_an_even_split() -> None:
    attention, x = lively_attention(AutoWindow(30)), torch.randn(1, 5, 6, 64)
    torch.testing.assert_close(attention(x), cell_by_cell(attention, x, (5, 6)), rtol=1e-5, atol=1e-5)
    attention.window = AutoWindow(29)
    torch.testing.assert_close(attention(x), cell_by_cell(attention, x, (5, 3)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("positions", [True, False])
def test_gradients_through_windows_of_four_shapes(positions: bool) -> None:
    """Of the input, the layers and the table, where the windows reach over both ends of the map."""
    attention, x = lively_attention((4, 3), positions).double(), torch.randn(2, 6, 8, 64).double().requires_grad_()
    inputs = [x, *attention.parameters()]
    expected = torch.autograd.grad(cell_by_cell(attention, x, (4, 3)).square().sum(), inputs)
    for ours, theirs in zip(torch.autograd.grad(attention(x).square().sum(), inputs), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9 * theirs.abs().max().item() + 1e-12)


def test_plain_form_without_a_table() -> None:
    q, k, v = torch.randn(3, 2, 4, 15, 32).unbind()
    torch.testing.assert_close(attend(q, k, v, None, (3, 5)), attend_plain(q, k, v, None, (3, 5)))


def test_autocast_leaves_the_bias_in_float32() -> None:
    """Biases near 100 that differ by less than bfloat16 can tell apart there."""
    q, k, v = (torch.zeros(1, 1, 16, 32), torch.zeros(1, 1, 16, 32), torch.randn(1, 1, 16, 32))
    table = fit_table(100 + 0.2 * torch.rand(1, 7, 7), (4, 4))
    expected = attend_plain(q, k, v, table, (4, 4))
    with torch.autocast("cpu", torch.bfloat16):
        low = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), table, (4, 4))
    assert low.dtype == torch.bfloat16
    assert (low - expected).abs().max() < 0.01
    flat = attend_plain(q, k, v, torch.zeros_like(table), (4, 4))
    assert (flat - expected).abs().max() > 0.03
