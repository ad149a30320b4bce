"""Attention windows: what a user may ask for, which window a map gets, and cutting the map into them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from torch import Tensor

from moat_det.errors import UserError

logger = logging.getLogger("moat_det")

TOKEN_BUDGET = 16_384
"""Cells of a map that "auto" leaves in one window: an image of 2048 x 2048 has as many at stride 16, of 4096 x 4096 at
stride 32. Attention takes time for a cell in proportion to its window: the budget bounds what a large image costs."""

ATTENTION_STRIDES = (16, 32)


@dataclass(frozen=True)
class AutoWindow:
    """The whole map as long as it has no more cells than `tokens`, else an even part of it."""

    tokens: int


Window: TypeAlias = tuple[int, int] | AutoWindow | None
"""Rows and columns of a window in cells of the map, or a rule for them; None is the whole map."""

WindowSpec: TypeAlias = str | int | Sequence[int] | Sequence[str | int | Sequence[int] | None]


def parse_windows(spec: WindowSpec, trained_size: tuple[int, int] | None = None) -> tuple[Window, Window]:
    """Turns what the user wrote into the windows of the two attention stages (strides 16 and 32).

    Args:
        spec: One policy for both stages, or a list of four, one per stage: of which the first two have no attention, so
            that theirs are None, and None for a later one is "full". A policy is

            - "full": the whole map;
            - "auto", "auto:TOKENS": the whole map up to so many cells (`TOKEN_BUDGET`), else its largest even part;
            - "trained": as large as the whole map of an image of `trained_size`;
            - an int or (h, w): so many cells.
        trained_size: Height and width in pixels of the images of the training.

    Raises:
        UserError: The value is none of these, or "trained" without a `trained_size`.
    """
    if isinstance(spec, (list, tuple)) and len(spec) == 4:
        if spec[0] is not None or spec[1] is not None:
            raise UserError(f"window {spec!r}: the first two stages have no attention; write None for them")
        policies = ["full" if policy is None else policy for policy in spec[2:]]
    else:
        policies = [spec, spec]
    at16, at32 = (_parse(p, spec, s, trained_size) for p, s in zip(policies, ATTENTION_STRIDES, strict=True))
    return at16, at32


def _parse(policy: object, spec: object, stride: int, trained_size: tuple[int, int] | None) -> Window:
    if policy == "full":
        return None
    if policy == "auto":
        return AutoWindow(TOKEN_BUDGET)
    if policy == "trained":
        if trained_size is None:
            raise UserError(
                f"window {spec!r}: the size of the images of the training is not known here; "
                "give the windows' own size, or a model that was trained"
            )
        return map_size(trained_size, stride)
    if isinstance(policy, str):
        name, _, tokens = policy.partition(":")
        if name == "auto" and tokens.isdecimal() and int(tokens) > 0:
            return AutoWindow(int(tokens))
    pair = (policy, policy) if isinstance(policy, int) else policy
    if isinstance(pair, (list, tuple)) and len(pair) == 2:
        h, w = pair
        if type(h) is int and type(w) is int and min(h, w) >= 1:
            return h, w
    raise UserError(
        f'window {spec!r}: give "full", "auto", "auto:TOKENS", "trained", a positive int, (h, w), or one of these or '
        "None for each of the four stages, such as [None, None, (14, 14), None]"
    )


def map_size(image: tuple[int, int], stride: int) -> tuple[int, int]:
    """Rows and columns of the map at a stride, of an image of so many rows and columns of pixels."""
    return -(-image[0] // stride), -(-image[1] // stride)


def window_for(window: Window, size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the window that a map of `size` gets."""
    if window is None:
        return size
    if isinstance(window, AutoWindow):
        return even_split(*size, window.tokens)
    return window


@lru_cache(maxsize=256)  # so that each size is said once
def even_split(rows: int, cols: int, tokens: int) -> tuple[int, int]:
    """The window of at most `tokens` cells that splits a map evenly: by its shorter side the longest there is.

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
    """Splits an axis into the part that whole windows fill and a last, shorter window: (slice, window) of each.

    A window that ends where the map does is what a padded one with masked padding comes to, without the work.
    """
    full = length - length % window
    parts = [(slice(0, full), window), (slice(full, length), length - full)]
    return [part for part in parts if part[0].start < part[0].stop]


def cut(x: Tensor, window: tuple[int, int]) -> Tensor:
    """Cuts a map (B, H, W, C), which windows of h x w fill, into tokens (B * n, h * w, C), windows row by row."""
    h, w = window
    x = x.unflatten(2, (-1, w)).unflatten(1, (-1, h)).transpose(2, 3)
    return x.reshape(-1, h * w, x.shape[-1])


def join(tokens: Tensor, window: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Undoes `cut`: tokens (B * n, h * w, C) to the map (B, *size, C)."""
    h, w = window
    x = tokens.reshape(-1, size[0] // h, size[1] // w, h, w, tokens.shape[-1]).transpose(2, 3)
    return x.reshape(-1, *size, tokens.shape[-1])
