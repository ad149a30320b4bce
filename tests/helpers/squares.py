"""Bright squares and discs on a flat ground: what a small model learns in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from moat_det.data.sizes.letterbox import PADDING


class Learnt(NamedTuple):
    """A model that has learnt, and the data.yaml of what it has learnt: images of 64 px, of 96 px in val.

    What it finds has scores above 0.3; what lies below is chance, and another processor's is another.
    """

    data: Path
    weights: Path


NAMES = ("square", "disc")
GROUND = PADDING  # so that nothing begins where an image ends


def draw_squares(root: Path, train: int, val: int, train_side: int, val_side: int) -> Path:
    """Write a set of square images with up to five things each; gives its data.yaml."""
    random = np.random.default_rng(0)
    for split, count, side in (("train", train, train_side), ("val", val, val_side)):
        for part in ("images", "labels"):
            (root / part / split).mkdir(parents=True)
        for number in range(count):
            image, lines = _picture(random, side)
            cv2.imwrite(str(root / "images" / split / f"{number:03}.png"), image)
            (root / "labels" / split / f"{number:03}.txt").write_text("\n".join(lines))
    data = root / "data.yaml"
    data.write_text(f"path: {root}\ntrain: images/train\nval: images/val\nnames: [{', '.join(NAMES)}]\n")
    return data


def _picture(random: np.random.Generator, side: int) -> tuple[np.ndarray, list[str]]:
    """Draw things that do not touch; gives the image (S, S, 3) and the lines of its label."""
    image = np.full((side, side, 3), GROUND, np.uint8)
    free = np.ones((side, side), bool)
    lines = []
    for _ in range(random.integers(2, 6)):
        half = int(random.integers(7, 13))
        x, y = (int(random.integers(half + 1, side - half - 1)) for _ in range(2))
        place = (slice(max(y - half - 2, 0), y + half + 3), slice(max(x - half - 2, 0), x + half + 3))
        if not free[place].all():
            continue
        free[place] = False
        kind, shade = int(random.integers(2)), [int(random.integers(190, 250))] * 3
        if kind == 0:
            cv2.rectangle(image, (x - half, y - half), (x + half, y + half), shade, -1)
        else:
            cv2.circle(image, (x, y), half, shade, -1)
        numbers = ((x + 0.5) / side, (y + 0.5) / side, (2 * half + 1) / side, (2 * half + 1) / side)
        lines.append(" ".join([str(kind), *(f"{number:.6f}" for number in numbers)]))
    return image, lines
