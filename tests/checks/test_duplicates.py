"""Pictures that are nearly the same."""

from __future__ import annotations

import numpy as np

from moat_det.checks.duplicates import _candidates


def test_equally_alike_pictures_come_in_the_order_of_the_set() -> None:
    alike, other = np.full((10, 1024), 1 / 32, np.float32), np.zeros((10, 1024), np.float32)
    other[:, 0] = 1
    pooled = np.vstack([alike[:5], other, alike[5:]])
    found = {row: order for row, order, _ in _candidates(pooled, 0)}
    expected = [0, 1, 2, 3, 4, 15, 16, 17, 18, 19]
    assert all(found[row] == expected for row in expected[:-1])
