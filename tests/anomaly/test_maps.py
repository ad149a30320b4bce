"""A map lies on the image's pixels, wherever the image lies in the input."""

from __future__ import annotations

import numpy as np
import pytest

from moat_det.anomaly.maps import own_cells, smooth, to_pixels
from moat_det.data.sizes.policy import size_policy

STRIDE = 8


@pytest.mark.parametrize("size", [(96, 160), (160, 96), (50, 333), (333, 50), (128, 128), (97, 61)])
@pytest.mark.parametrize("imgsz", [128, (128, 192), "native"])
def test_each_pixel_has_the_value_of_its_place(size: tuple[int, int], imgsz: int | tuple[int, int] | str) -> None:
    sizes = size_policy(imgsz, 32, rect=True)
    place, padded = sizes.placement(*size), sizes.padded(*size)
    rows, columns = padded[0] // STRIDE, padded[1] // STRIDE
    # Values that say where in the input a cell's centre is: linear, so that interpolation between them is exact.
    y, x = np.meshgrid(np.arange(rows) * 8.0 + 4, np.arange(columns) * 8.0 + 4, indexing="ij")
    cells = own_cells(place, size, (rows, columns), STRIDE)
    for centres, scale, begin, axis in ((y, place.scale_y, place.top, 0), (x, place.scale_x, place.left, 1)):
        values = to_pixels(centres[cells.rows, cells.columns].astype(np.float32), cells, place, size, STRIDE)
        assert values.shape == size
        expected = (np.arange(size[axis]) + 0.5) * scale + begin
        expected = expected.clip(centres[cells.rows, cells.columns].min(), centres[cells.rows, cells.columns].max())
        np.testing.assert_allclose(values[0] if axis else values[:, 0], expected, rtol=1e-5)


def test_padding_is_no_part_of_the_image() -> None:
    sizes = size_policy(128, 32)
    cells = own_cells(sizes.placement(64, 128), (64, 128), (16, 16), STRIDE)
    assert (cells.rows, cells.columns) == (slice(4, 12), slice(0, 16))
    sizes = size_policy("native", 32)
    cells = own_cells(sizes.placement(60, 100), (60, 100), (8, 16), STRIDE)
    assert (cells.rows, cells.columns) == (slice(0, 7), slice(0, 12))  # the last row has its centre at 60


@pytest.mark.parametrize("size", [(1, 500), (500, 1), (2, 2)])
def test_the_smallest_image_has_a_cell(size: tuple[int, int]) -> None:
    sizes = size_policy(128, 32)
    place = sizes.placement(*size)
    cells = own_cells(place, size, (16, 16), STRIDE)
    values = np.ones((16, 16), np.float32)[cells.rows, cells.columns]
    assert values.size > 0
    assert (to_pixels(smooth(values), cells, place, size, STRIDE) == 1).all()
