"""Attention windows: what a user may ask for, and cutting a map into them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from moat_det.errors import UserError

Window: TypeAlias = tuple[int, int] | None
"""Rows and columns of a window in cells of the map; None is the whole map."""

WindowSpec: TypeAlias = str | int | Sequence[int] | Sequence[int | Sequence[int] | None]


def parse_windows(spec: WindowSpec) -> tuple[Window, Window]:
    """Turns what the user wrote into the windows of the two attention stages (strides 16 and 32).

    Args:
        spec: "full" (the whole map), one window for both stages as an int or (h, w), or a list of four, one
            per stage, of None (the whole map), an int or (h, w). The first two stages have no attention, so
            theirs are None.

    Raises:
        UserError: The value is none of these.
    """
    if spec == "full":
        return None, None
    if isinstance(spec, (list, tuple)) and len(spec) == 4:
        if spec[0] is not None or spec[1] is not None:
            raise UserError(f"window {spec!r}: the first two stages have no attention; write None for them")
        return _parse_window(spec[2], spec), _parse_window(spec[3], spec)
    window = _parse_window(spec, spec)
    if window is None:
        raise UserError('window None: write "full" for windows that cover the whole map')
    return window, window


def _parse_window(value: object, spec: object) -> Window:
    if value is None:
        return None
    pair = (value, value) if isinstance(value, int) else value
    if isinstance(pair, (list, tuple)) and len(pair) == 2:
        h, w = pair
        if type(h) is int and type(w) is int and min(h, w) >= 1:
            return h, w
    raise UserError(
        f'window {spec!r}: give "full", a positive int, (h, w), or one of None, an int and (h, w) '
        "for each of the four stages, such as [None, None, (14, 14), (7, 7)]"
    )


def split(x: Tensor, window: tuple[int, int]) -> tuple[Tensor, Tensor | None]:
    """Cuts a map into windows, after padding it with zeros at the bottom and the right to a multiple of them.

    Args:
        x: (B, H, W, C).
        window: Rows h and columns w of a window.

    Returns:
        Tokens (B * n, h * w, C) of the n windows in row-major order, and which of the cells are the map's
        own, bool (n, h * w); None where all are.
    """
    rows, cols = x.shape[1:3]
    h, w = window
    down, right = -rows % h, -cols % w
    if not down and not right:
        return _cut(x, h, w), None
    own = torch.ones(1, rows, cols, 1, dtype=torch.bool, device=x.device)
    padding = (0, 0, 0, right, 0, down)
    return _cut(F.pad(x, padding), h, w), _cut(F.pad(own, padding), h, w)[..., 0]


def _cut(x: Tensor, h: int, w: int) -> Tensor:
    b, rows, cols, c = x.shape
    x = x.reshape(b, rows // h, h, cols // w, w, c).transpose(2, 3)
    return x.reshape(-1, h * w, c)


def join(tokens: Tensor, window: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Undoes `split`: tokens (B * n, h * w, C) to the map (B, *size, C)."""
    h, w = window
    rows, cols = -(-size[0] // h), -(-size[1] // w)
    x = tokens.reshape(-1, rows, cols, h, w, tokens.shape[-1]).transpose(2, 3)
    return x.reshape(-1, rows * h, cols * w, tokens.shape[-1])[:, : size[0], : size[1]]
