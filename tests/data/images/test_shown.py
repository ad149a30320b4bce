"""What people see of images with other bands than a picture: the same in every report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from moat_det.data.images.intensity import Intensity
from moat_det.data.images.shown import as_picture, read_rgb


@pytest.mark.parametrize(
    ("channels", "rgb"), [(1, [10, 10, 10]), (2, [10, 10, 10]), (3, [10, 11, 12]), (5, [10, 11, 12])]
)
def test_the_first_three_bands_are_seen_or_the_first(channels: int, rgb: list[int], tmp_path: Path) -> None:
    image = np.broadcast_to(10 + np.arange(channels, dtype=np.uint8), (6, 8, channels))
    np.save(tmp_path / "image.npy", image)  # of three bands RGB
    seen = read_rgb(str(tmp_path / "image.npy"), Intensity(), channels)
    np.testing.assert_array_equal(seen, np.broadcast_to(np.uint8(rgb), (6, 8, 3)))
    in_memory = image[..., ::-1] if channels == 3 else image
    np.testing.assert_array_equal(as_picture(in_memory), seen[..., ::-1])
