"""Relative position tables: fitted to a window, remembered in evaluation, spread over all pairs of cells."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
        table = _stretch(table, size)
    if (inner_h, inner_w) != (h, w):
        down, right = h - inner_h, w - inner_w
        table = F.pad(table, (right, right, down, down), mode="replicate")
    return table


def _stretch(table: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a table (N, rows, columns) to a size, bilinearly."""
    if table.device.type != "cuda":
        return F.interpolate(table[None], size, mode="bilinear", align_corners=False)[0]
    # Where trainings are to be repeatable torch takes it apart into sixty kernels there, and sorts for the gradient.
    with torch.autocast("cuda", enabled=False):
        return stretch_by_products(table, size)


def stretch_by_products(table: Tensor, size: tuple[int, int]) -> Tensor:
    """Do the same by two matrices, one along the columns and one along the rows of the table."""
    down, right = (
        F.interpolate(torch.eye(before, dtype=table.dtype, device="cpu")[None], after, mode="linear")[0]
        for before, after in zip(table.shape[1:], size, strict=True)
    )
    return down.mT.to(table.device, non_blocking=True) @ table @ right.to(table.device, non_blocking=True)


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

    They are made anew where the parameter is another one, lies elsewhere, or counts another version; on a CPU also
    where its content differs from what was fitted, since writes through `.data` and NumPy leave no trace. On a GPU,
    where a comparison would wait for the device, such writes go unseen: call `clear` after them. A tensor of inference
    mode counts no version, and what is made of it is not remembered.

    A copy or a pickle of it is empty, so that copies of a model do not share it and files do not hold it. Threads may
    share one: what it remembers is replaced as a whole.
    """

    SIZES = 8

    def __init__(self) -> None:
        self._remembered: _Remembered | None = None

    def fit(self, table: Tensor, window: tuple[int, int], reach: tuple[int, int] | None) -> Tensor:
        """`fit_table`, without gradients, made anew where the table's content may have changed."""
        if table.is_inference():
            return fit_table(table, window, reach)
        remembered = self._remembered
        if remembered is None or not remembered.is_of(table):
            remembered = _Remembered.of(table)
        fitted = remembered.fitted.get((window, reach))
        if fitted is None:
            with torch.inference_mode(False), torch.no_grad():  # a tensor of inference mode could reach training
                fitted = fit_table(table, window, reach)
                if fitted is table:
                    fitted = fitted.clone()  # the table itself would change with what is written into it
            sizes = list(remembered.fitted.items())[1 - self.SIZES :]
            self._remembered = replace(remembered, fitted={**dict(sizes), (window, reach): fitted})
        return fitted

    def clear(self) -> None:
        """Forget all."""
        self._remembered = None

    def __reduce__(self) -> tuple[type[FittedTables], tuple[()]]:
        """Copy and pickle as an empty one."""
        return FittedTables, ()


@dataclass(frozen=True)
class _Remembered:
    """Tables fitted to one content of one parameter.

    Attributes:
        table: The parameter: held, so that no other gets its identity or its place in memory.
        trace: What a change of it usually changes.
        content: A copy of it on a CPU, else None.
        fitted: By window and reach, the oldest first.
    """

    table: Tensor
    trace: tuple[object, ...]
    content: Tensor | None
    fitted: dict[object, Tensor]

    @classmethod
    def of(cls, table: Tensor) -> _Remembered:
        with torch.inference_mode(False), torch.no_grad():
            content = table.detach().clone() if table.device.type == "cpu" else None
        return cls(table, _trace(table), content, {})

    def is_of(self, table: Tensor) -> bool:
        if self.table is not table or self.trace != _trace(table):
            return False
        return self.content is None or torch.equal(self.content, table)


def _trace(table: Tensor) -> tuple[object, ...]:
    return table.data_ptr(), table._version, table.dtype, table.device
