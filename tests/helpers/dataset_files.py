"""Images for the tests of datasets."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from moat_det.data.images.find import find_split

HEIGHT, WIDTH = 40, 60


def noise(height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8))


def write_noise(folder: Path, names: Iterable[str], side: int = 64) -> Path:
    """Write squares of noise, a different one below each name."""
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(side, side, seed).save(path)
    return folder


def find_images(source: str | Path | Iterable[str | Path]) -> list[Path]:
    """The images of a split, each once, sorted."""
    return [Path(name) for name in sorted(set(find_split(source).images))]
