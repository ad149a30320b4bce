from __future__ import annotations

import pytest

from moat_det.data.sizes.progressive import progressive_shape


def test_images_grow_to_their_size_by_the_middle_of_the_training() -> None:
    sides = [progressive_shape((320, 320), 0.5, epoch, 10, 32)[0] for epoch in range(10)]
    assert sides == [160, 192, 224, 256, 288, *[320] * 5]  # 160 and a tenth more each time, in multiples of 32


def test_a_shape_keeps_about_its_aspect() -> None:
    assert progressive_shape((128, 512), 0.5, 0, 4, 32) == (64, 256)
    assert progressive_shape((64, 640), 0.25, 0, 4, 64) == (64, 192)


@pytest.mark.parametrize(("start", "epoch", "epochs"), [(1, 0, 10), (0.5, 0, 1), (0.5, 5, 10), (0.01, 9, 10)])
def test_whole_images(start: float, epoch: int, epochs: int) -> None:
    assert progressive_shape((96, 160), start, epoch, epochs, 32) == (96, 160)
