"""Relative position tables: fitted to a window, remembered in evaluation, spread over all pairs of cells."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def fit_table(table: Tensor, window: tuple[int, int], reach: tuple[int, int] | None = None) -> Tensor:
    """Resize a position table to a window.

    Args:
        table: (N, 2P - 1, 2P - 1), the bias of N heads by the rows and columns from query to key.
        window: Rows h and columns w of the window.
        reach: Rows and columns of the largest window that the table is stretched to, bilinearly; in a larger one, cells
            farther apart get the bias of the farthest of that window. None stretches it to any.

    Returns:
        (N, 2h - 1, 2w - 1), float32 at least.
    """
    h, w = window
    inner_h, inner_w = (h, w) if reach is None else (min(h, reach[0]), min(w, reach[1]))
    table = table.to(torch.promote_types(table.dtype, torch.float32))
    if table.shape[1:] != (2 * inner_h - 1, 2 * inner_w - 1):
        size = (2 * inner_h - 1, 2 * inner_w - 1)
        table = F.interpolate(table[None], size, mode="bilinear", align_corners=False)[0]
    if (inner_h, inner_w) != (h, w):
        down, right = h - inner_h, w - inner_w
        table = F.pad(table, (right, right, down, down), mode="replicate")
    return table


def crop_table(table: Tensor, window: tuple[int, int]) -> Tensor:
    """Give the part (N, 2h - 1, 2w - 1) of a table that the cells of a smaller window h x w need; a view."""
    down, right = (table.shape[1] + 1) // 2 - window[0], (table.shape[2] + 1) // 2 - window[1]
    return table[:, down : table.shape[1] - down, right : table.shape[2] - right]


def gather_bias(table: Tensor, window: tuple[int, int]) -> Tensor:
    """Spread a table (N, 2h - 1, 2w - 1) over all pairs of cells of a window: (N, h * w, h * w), query by key."""
    h, w = window
    rows, cols = torch.arange(h, device=table.device), torch.arange(w, device=table.device)
    down = (rows - rows[:, None] + h - 1).flatten()
    right = (cols - cols[:, None] + w - 1).flatten()
    bias = table.index_select(1, down).index_select(2, right).unflatten(2, (w, w)).unflatten(1, (h, h))
    return bias.transpose(2, 3).reshape(-1, h * w, h * w)


class FittedTables:
    """Remembers the tables that `fit_table` made of one parameter, the last few sizes of it.

    A copy or a pickle of it is empty, so that copies of a model do not share it and files do not hold it.
    """

    SIZES = 8

    def __init__(self) -> None:
        self._tables: dict[object, Tensor] = {}

    def fit(self, table: Tensor, window: tuple[int, int], reach: tuple[int, int] | None) -> Tensor:
        """`fit_table`, without gradients, made anew where the table's content may have changed."""
        # Content that changes in place counts the version up; other content lies elsewhere.
        key = (window, reach, table.data_ptr(), table._version, table.dtype, table.device)
        if key not in self._tables:
            with torch.inference_mode(False), torch.no_grad():  # a tensor of inference mode could reach training
                fitted = fit_table(table, window, reach)
            while len(self._tables) >= self.SIZES:
                del self._tables[next(iter(self._tables))]
            self._tables[key] = fitted
        return self._tables[key]

    def clear(self) -> None:
        """Forget all."""
        self._tables.clear()

    def __reduce__(self) -> tuple[type[FittedTables], tuple[()]]:
        """Copy and pickle as an empty one."""
        return FittedTables, ()
