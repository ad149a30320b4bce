"""Drawn rectangles with edges at fractions of a pixel, and where their edges are found in an image.

The edges are soft, so that sampling at fewer pixels, as scaling down does, still sees where they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ultralytics.utils.instance import Instances

DARK, BRIGHT = 40, 220
MARGIN = 12  # pixels between a drawn rectangle and the edge of its image
REACH = 5  # pixels around a box that are looked at


def draw(height: int, width: int, box: tuple[float, float, float, float]) -> np.ndarray:
    """An image (H, W, 3), dark, with a bright rectangle."""
    gray = DARK + (BRIGHT - DARK) * np.outer(_profile(height, box[1], box[3]), _profile(width, box[0], box[2]))
    return np.repeat(gray.round().astype(np.uint8)[..., None], 3, axis=2)


def random_box(random: np.random.Generator, height: int, width: int) -> tuple[float, float, float, float]:
    """A box somewhere in an image, at least `MARGIN` from its edges and at least 16 pixels wide and high."""
    x1, x2 = _span(random, width)
    y1, y2 = _span(random, height)
    return x1, y1, x2, y2


def _profile(side: int, start: float, end: float) -> np.ndarray:
    """The share of each pixel that lies between `start` and `end`, blurred."""
    pixels = np.arange(side)
    covered = np.clip(np.minimum(pixels + 1, end) - np.maximum(pixels, start), 0, 1)
    return np.convolve(covered, np.ones(3) / 3, mode="same")


def _span(random: np.random.Generator, side: int) -> tuple[float, float]:
    length = random.uniform(16, min(side - 2 * MARGIN, 40))
    start = random.uniform(MARGIN, side - MARGIN - length)
    return start, start + length


def sample(height: int, width: int, box: tuple[float, float, float, float]) -> dict[str, Any]:
    """A sample of the engine with that drawing."""
    x1, y1, x2, y2 = box
    share = np.array([[(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]])
    return {
        "img": draw(height, width, box),
        "cls": np.zeros((1, 1), np.float32),
        "instances": Instances(share.astype(np.float32), bbox_format="xywh", normalized=True),
        "im_file": "drawn.png",
        "ori_shape": (height, width),
        "resized_shape": (height, width),
    }


def boxes_of(labels: dict[str, Any]) -> np.ndarray:
    """The boxes (N, 4) of a sample, xyxy in pixels."""
    height, width = labels["img"].shape[:2]
    labels["instances"].convert_bbox("xyxy")
    labels["instances"].denormalize(width, height)
    return labels["instances"].bboxes


def edges(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Where the rectangle near `box` really is, xyxy: from the sums of brightness along either axis."""
    x1, y1, x2, y2 = (round(float(value)) for value in box)
    window = image[y1 - REACH : y2 + REACH, x1 - REACH : x2 + REACH].mean(axis=2)
    middle_y, middle_x = (np.arange(side) for side in window.shape)
    rows = abs(middle_y - window.shape[0] / 2) < (y2 - y1) / 4
    columns = abs(middle_x - window.shape[1] / 2) < (x2 - x1) / 4
    left, right = _ends(window[rows].mean(axis=0))
    top, bottom = _ends(window[:, columns].mean(axis=1))
    return np.array([x1 - REACH + left, y1 - REACH + top, x1 - REACH + right, y1 - REACH + bottom])


def _ends(profile: np.ndarray) -> tuple[float, float]:
    dark, bright = profile[[0, -1]].mean(), profile[len(profile) // 2]
    assert bright - dark > 30, f"no rectangle here: {profile.round()}"
    shares = (profile - dark) / (bright - dark)
    half = len(profile) // 2
    return half - float(shares[:half].sum()), half + float(shares[half:].sum())


def check(image: np.ndarray, boxes: np.ndarray, tolerance: float = 0.1) -> int:
    """Compare boxes with what is drawn, except those at the image's or a padding's edge; gives how many were compared.

    What a wrong box would enclose is no reason to leave it out: only its surroundings at a distance count, and these
    must be dark.
    """
    height, width = image.shape[:2]
    compared = 0
    for box in boxes:
        x1, y1, x2, y2 = (round(float(value)) for value in box)
        far = REACH + 2  # beyond what interpolation mixes the padding into
        if min(x1, y1) < far or x2 > width - far or y2 > height - far:
            continue
        if np.isin(_ring(image, box, far), range(100, 129)).any():  # padding is 114
            continue
        assert _ring(image, box, REACH).max() < DARK + 4, f"{box} does not enclose what is drawn"
        found = edges(image, box)
        assert np.abs(found - box).max() < tolerance, f"the box is {box}, the drawing {found}"
        compared += 1
    return compared


def _ring(image: np.ndarray, box: np.ndarray, distance: int) -> np.ndarray:
    x1, y1, x2, y2 = (round(float(value)) for value in box)
    around = image[y1 - distance : y2 + distance, x1 - distance : x2 + distance, 0]
    return np.concatenate([around[0], around[-1], around[:, 0], around[:, -1]])
