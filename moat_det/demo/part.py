"""One part of the demo set: a good surface, and defects with the bounds of exactly the pixels they change."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moat_det.demo import defects
from moat_det.demo.board import circuit_board
from moat_det.demo.surfaces import Pad, Surface, brushed_metal, cast_grain, to_uint8

NAMES = ("scratch", "pit", "stain", "missing_pad")
SURFACES = {"metal": brushed_metal, "cast": cast_grain, "board": circuit_board}
# What occurs where, with its odds: a stain does not show on a board's solder mask, nor a pit.
OCCURS: dict[str, dict[str, float]] = {
    "metal": {"scratch": 0.4, "pit": 0.3, "stain": 0.3},
    "cast": {"scratch": 0.35, "pit": 0.3, "stain": 0.35},
    "board": {"scratch": 0.3, "missing_pad": 0.7},
}
COUNT_ODDS = (0.35, 0.3, 0.2, 0.15)  # of 1, 2, 3 and 4 defects
VISIBLE = 8  # gray levels: a pixel that a defect changes by less stays as it was
CLEAR = 25.0  # gray levels that the changed pixels of a defect differ by in the mean, at least
SMALLEST = 8  # pixels: the shorter side of a box is at least that
GAP = 6  # pixels between two boxes, at least
TRIES = 60  # places tried for one defect


def draw_part(
    rng: np.random.Generator,
    size: tuple[int, int],
    surface: str | None = None,
    defective: bool = True,
    defect_scale: float = 1.0,
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Draw one part.

    The surface is drawn first and alone, so the same generator state with `defective=False` gives the same
    part without its defects.

    Args:
        rng: Where all chance comes from; it is advanced.
        size: (H, W) of the image, in pixels.
        surface: "metal", "cast" or "board"; None: one by chance.
        defective: False leaves the part good.
        defect_scale: Factor on the size of scratches, pits and stains (at 1: 10 to 60 px). A missing pad is
            as large as the board's pads, which do not scale.

    Returns:
        The image, uint8 (H, W, 3), BGR; the boxes, int64 (N, 4), as x1, y1, x2, y2 in pixels, the last row
        and column exclusive; and their classes, int64 (N,), indices into `NAMES`. A defective part has 1 to 4
        boxes that do not overlap.
    """
    surface = surface or str(rng.choice(list(SURFACES)))
    good = SURFACES[surface](rng, size)
    image = good.image.copy()
    boxes: list[tuple[int, int, int, int]] = []
    classes: list[int] = []
    if defective:
        kinds, odds = list(OCCURS[surface]), list(OCCURS[surface].values())
        for _ in range(1 + int(rng.choice(len(COUNT_ODDS), p=COUNT_ODDS))):
            # The next kind where one finds no place, so that every defective part has a defect.
            for kind in rng.choice(kinds, len(kinds), replace=False, p=odds):
                box = add_defect(rng, image, good, kind, boxes, defect_scale)
                if box is not None:
                    boxes.append(box)
                    classes.append(NAMES.index(kind))
                    break
    return image, np.array(boxes, np.int64).reshape(-1, 4), np.array(classes, np.int64)


def add_defect(
    rng: np.random.Generator,
    image: NDArray[np.uint8],
    good: Surface,
    kind: str,
    taken: list[tuple[int, int, int, int]],
    scale: float,
) -> tuple[int, int, int, int] | None:
    """Paint one defect into `image` where it shows and keeps clear of the boxes `taken`.

    Returns:
        Its box (x1, y1, x2, y2), the bounds of the pixels that changed; None, and the image as it was, when
        no place was found.
    """
    for _ in range(TRIES):
        place = choose_place(rng, image.shape[:2], good.pads, kind, scale)
        if place is None:
            return None
        x, y, width, height, _ = place
        if not all(
            x + width + GAP <= x1 or x2 + GAP <= x or y + height + GAP <= y1 or y2 + GAP <= y
            for x1, y1, x2, y2 in taken
        ):
            continue
        before = image[y : y + height, x : x + width]
        patch = before.astype(np.float32)
        if kind == "missing_pad":
            after = to_uint8(defects.missing_pad(rng, patch, place))
        else:
            after = to_uint8(getattr(defects, kind)(rng, patch))
        change = np.abs(after.astype(np.int16) - before).max(2)
        seen = defects.largest_part(change >= VISIBLE)
        rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
        if min(len(rows), len(columns)) < SMALLEST or change[seen].mean() < CLEAR:
            continue
        before[seen] = after[seen]
        return x + int(columns[0]), y + int(rows[0]), x + int(columns[-1]) + 1, y + int(rows[-1]) + 1
    return None


def choose_place(
    rng: np.random.Generator, size: tuple[int, ...], pads: list[Pad], kind: str, scale: float
) -> Pad | None:
    """Give the rectangle to paint a defect in: one of the pads, or anywhere in the image; None without pads."""
    if kind == "missing_pad":
        return pads[rng.integers(len(pads))] if pads else None
    if kind == "scratch":
        length, angle = scale * rng.uniform(30, 66), np.deg2rad(rng.uniform(18, 72))
        height, width = length * np.sin(angle) + 8, length * np.cos(angle) + 8
    elif kind == "pit":
        height, width = scale * rng.uniform(13, 26) * rng.uniform(0.85, 1.15, 2) + 6
    else:
        height, width = scale * rng.uniform(30, 60) * rng.uniform(0.75, 1.25, 2)
    height, width = min(int(height), size[0] - 2), min(int(width), size[1] - 2)
    y, x = rng.integers(1, size[0] - height), rng.integers(1, size[1] - width)
    return Pad(int(x), int(y), width, height, False)
