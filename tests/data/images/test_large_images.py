"""Pillow's limit on the size of an image, which is one for all threads."""

from __future__ import annotations

import pytest
from PIL import Image

from moat_det.data.images.header import MAX_PIXELS, large_images


def test_blocks_that_overlap_leave_the_limit_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    first, second = large_images(), large_images()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert Image.MAX_IMAGE_PIXELS == MAX_PIXELS  # for the second one
    second.__exit__(None, None, None)
    assert Image.MAX_IMAGE_PIXELS == 400
