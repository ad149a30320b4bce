"""Images for the tests of datasets."""

from __future__ import annotations

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 40, 60


def noise(height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8))
