"""Which patches of a picture are hidden."""

from __future__ import annotations

import numpy as np

PATCH = 32
"""Side of a patch in pixels: that of a cell of the deepest map, so that no cell sees a part of a hidden patch."""


def draw_mask(rng: np.random.Generator, rows: int, columns: int, ratio: float) -> np.ndarray:
    """Choose patches at random, as in SimMIM (Xie et al., arXiv 2111.09886).

    Args:
        rng: What the choice is drawn from.
        rows: Patches from top to bottom.
        columns: Patches from left to right.
        ratio: Share of the patches to hide, from 0 to 1; of two and more one is hidden and one is not in any case.

    Returns:
        (rows, columns) bool, true where a patch is hidden.
    """
    count = rows * columns
    hidden = int(np.clip(round(ratio * count), 1, max(count - 1, 1)))
    mask = np.zeros(count, dtype=bool)
    mask[rng.permutation(count)[:hidden]] = True
    return mask.reshape(rows, columns)
