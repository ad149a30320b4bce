"""Attention windows on a map: which one it gets, and cutting the map into them."""

from __future__ import annotations

import logging
from functools import lru_cache

from torch import Tensor
from torch.nn import functional as F

from moat_det.backbones.windows import AutoWindow, Window

logger = logging.getLogger("moat_det")


def window_for(window: Window, size: tuple[int, int]) -> tuple[int, int]:
    """Give rows and columns of the window that a map of `size` gets."""
    if window is None:
        return size
    if isinstance(window, AutoWindow):
        return even_split(*size, window.tokens)
    return window


@lru_cache(maxsize=256)  # so that each size is said once
def even_split(rows: int, cols: int, tokens: int) -> tuple[int, int]:
    """Give the window of at most `tokens` cells that splits a map evenly: by its shorter side the longest there is.

    Of those as long, the one with the fewest windows, then the one whose last windows are cut the least. A map
    that fits is one window.
    """
    if rows * cols <= tokens:
        return rows, cols
    best: tuple[tuple[int, int, int], tuple[int, int]] | None = None
    for down in range(1, rows + 1):
        h = -(-rows // down)
        if h > tokens:
            continue
        across = -(-cols // (tokens // h))
        w = -(-cols // across)
        score = (-min(h, w), down * across, down * h * across * w)
        if best is None or score < best[0]:
            best = score, (h, w)
    assert best is not None  # a window of one row is always among them
    h, w = best[1]
    logger.info(
        "Attention: a map of %d x %d cells exceeds %d; windows of %d x %d (%d of them)",
        *(rows, cols, tokens, h, w, -(-rows // h) * -(-cols // w)),
    )
    return h, w


def tiles(length: int, window: int) -> list[tuple[slice, int]]:
    """Split an axis into the part that whole windows fill and a last, shorter window: (slice, window) of each.

    A window that ends where the map does is what a padded one with masked padding comes to, without the work.
    """
    full = length - length % window
    parts = [(slice(0, full), window), (slice(full, length), length - full)]
    return [part for part in parts if part[0].start < part[0].stop]


def pad(x: Tensor, window: tuple[int, int], value: float = 0.0) -> Tensor:
    """Pad a map (B, H, W, C) below and to the right until windows fill it; one that they fill is returned as it is."""
    down, right = (-side % part for side, part in zip(x.shape[1:3], window, strict=True))
    return F.pad(x, (0, 0, 0, right, 0, down), value=value) if down or right else x


def cut(x: Tensor, window: tuple[int, int]) -> Tensor:
    """Cut a map (B, H, W, C), which windows of h x w fill, into tokens (B * n, h * w, C), windows row by row."""
    h, w = window
    x = x.unflatten(2, (-1, w)).unflatten(1, (-1, h)).transpose(2, 3)
    return x.reshape(-1, h * w, x.shape[-1])


def join(tokens: Tensor, window: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Undo `cut`: tokens (B * n, h * w, C) to the map (B, *size, C)."""
    h, w = window
    x = tokens.reshape(-1, size[0] // h, size[1] // w, h, w, tokens.shape[-1]).transpose(2, 3)
    return x.reshape(-1, *size, tokens.shape[-1])
