"""A backbone so small that tests train it, and pictures of two classes that it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

SMALL: dict[str, Any] = {
    "name": "small",
    "base": "tiny_moat0",
    "stem": [8, 8],
    "depths": [1, 1, 1, 1],
    "channels": [8, 16, 32, 32],
    "drop_path": 0.2,
}


def write_pictures(folder: Path, count: int, deep: bool = False) -> Path:
    """Write `count` pictures of each of two classes, bright ones and dark ones with noise."""
    random = np.random.default_rng(len(folder.name))
    for name, level in (("bright", 190), ("dark", 60)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            image = np.clip(level + random.normal(0, 20, (20, 24)), 0, 255)
            image = (image * 256).astype(np.uint16) if deep else image.astype(np.uint8)
            cv2.imwrite(str(folder / name / f"{number:02d}.png"), image)
    return folder
