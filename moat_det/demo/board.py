"""The printed circuit board of the demo parts: a grid of footprints with traces, vias and print."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from moat_det.demo.surfaces import Array, Pad, Surface, lighting, smooth_noise, to_uint8

CELL = 104  # pixels from one footprint to the next; a cell holds at most 76 px of pads, the rest is for traces
LANES = (-10, -3, 4, 11)  # where traces run, from the edge of a cell
HOLE = 4  # pixels, radius of the drill in a round pad
# BGR of the solder mask and of the copper's finish
MASKS = ((52, 92, 26), (110, 62, 22), (34, 30, 128), (46, 72, 18))
FINISHES = ((110, 190, 222), (198, 203, 205))
PRINT = (222, 228, 226)
LAMINATE = (50, 74, 92)


@lru_cache(maxsize=64)
def pad_mask(width: int, height: int, is_round: bool) -> Array:
    """How much of each pixel a pad covers: float32 (height, width) in [0, 1]; a round pad has a hole."""
    scale = 4
    mask = np.zeros((height * scale, width * scale), np.uint8)
    radius = min(width, height) * scale // 2 if is_round else 2 * scale
    bottom, right = mask.shape[0] - 1, mask.shape[1] - 1
    cv2.rectangle(mask, (radius, 0), (right - radius, bottom), 255, -1)
    cv2.rectangle(mask, (0, radius), (right, bottom - radius), 255, -1)
    for x in (radius, right - radius):
        for y in (radius, bottom - radius):
            cv2.circle(mask, (x, y), radius, 255, -1)
    if is_round:
        cv2.circle(mask, (width * scale // 2, height * scale // 2), HOLE * scale, 0, -1)
    return np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA) / 255, np.float32)


def footprint(rng: np.random.Generator) -> list[Pad]:
    """Give the pads of one component, around (0, 0)."""
    kind = rng.choice(["chips", "rows", "header", "connector"], p=[0.3, 0.35, 0.2, 0.15])
    if kind == "chips":
        pads = [Pad(x, y, 16, 18, False) for y in (-37, -9, 19)[: rng.integers(2, 4)] for x in (-28, 12)]
    elif kind == "rows":
        pads = [Pad(-35 + 20 * i, y, 11, 20, False) for y in (-38, 18) for i in range(4)]
    elif kind == "header":
        columns = rng.integers(2, 4)
        pads = [Pad(-35 + 26 * i, -35 + 26 * j, 18, 18, True) for j in range(columns) for i in range(3)]
    else:
        pads = [Pad(-38 + 20 * i, -26, 12, 26, False) for i in range(4)] + [Pad(-38, 16, 74, 16, False)]
    if rng.random() < 0.5:
        pads = [Pad(p.y, p.x, p.height, p.width, p.round) for p in pads]
    return pads


def polyline(mask: NDArray[np.uint8], points: list[tuple[float, float]], thickness: int) -> None:
    """Draw an antialiased polyline of (x, y) points into `mask`, to 1/8 px."""
    line = np.rint(np.array(points) * 8).astype(np.int32)
    cv2.polylines(mask, [line], False, 255, thickness, cv2.LINE_AA, 3)


def disc(mask: NDArray[np.uint8], centre: tuple[float, float], radius: float) -> None:
    """Draw an antialiased disc around (x, y) into `mask`, to 1/8 px."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)  # cv2.circle makes a diamond of so small a disc
    outline = np.stack([np.cos(angles), np.sin(angles)], 1) * radius + centre
    cv2.fillConvexPoly(mask, np.rint(outline * 8).astype(np.int32), 255, cv2.LINE_AA, 3)


def route(rng: np.random.Generator, pad: Pad, centre: tuple[int, int]) -> list[tuple[float, float]]:
    """Draw a trace from a pad out of its footprint and, by a bend of 45 degrees, along a lane to a via."""
    x, y = pad.x + pad.width / 2, pad.y + pad.height / 2
    out = 1 if y >= centre[1] else -1
    lane = centre[1] + out * (CELL // 2 + float(rng.choice(LANES)))
    along = int(rng.choice([-1, 1]))
    run = rng.uniform(8, 60)
    return [(x, y), (x, lane - out * 7), (x + along * 7, lane), (x + along * (7 + run), lane)]


def cells(rng: np.random.Generator, size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Give the centres (x, y) of all footprints that may reach into the image; the grid's origin is random."""
    shift_y, shift_x = rng.integers(0, CELL, 2)
    for y in range(shift_y - CELL, size[0] + CELL, CELL):
        for x in range(shift_x - CELL, size[1] + CELL, CELL):
            yield x, y


def circuit_board(rng: np.random.Generator, size: tuple[int, int]) -> Surface:
    """Draw a bare board before assembly: every footprint's pads lie open, tinned or gilded."""
    height, width = size
    mask_color = np.array(MASKS[rng.choice(len(MASKS), p=[0.5, 0.2, 0.15, 0.15])], np.float32)
    finish = np.array(FINISHES[rng.integers(len(FINISHES))], np.float32)
    copper, holes, silk = (np.zeros(size, np.uint8) for _ in range(3))
    pads: list[Pad] = []

    for x, y in cells(rng, size):
        placed = [Pad(p.x + x, p.y + y, p.width, p.height, p.round) for p in footprint(rng)]
        pads += placed
        for pad in placed:
            if rng.random() < 0.55:
                trace = route(rng, pad, (x, y))
                polyline(copper, trace, 3)
                disc(copper, trace[-1], 5)
                disc(holes, trace[-1], 2.2)
            if pad.round:
                disc(holes, (pad.x + pad.width / 2 - 0.5, pad.y + pad.height / 2 - 0.5), HOLE)
        left, top = min(p.x for p in placed) - 5, min(p.y for p in placed) - 5
        right, bottom = max(p.x + p.width for p in placed) + 4, max(p.y + p.height for p in placed) + 4
        cv2.rectangle(silk, (left, top), (right, bottom), 255, 1)
        name = f"{rng.choice(list('RCUJQ'))}{rng.integers(1, 99)}"
        cv2.putText(silk, name, (left, top - 3), cv2.FONT_HERSHEY_SIMPLEX, 0.32, 255, 1, cv2.LINE_AA)

    relief = 1 + 0.035 * smooth_noise(rng, size, (1, 1)) + 0.03 * smooth_noise(rng, size, (4, 4))
    image = mask_color * relief[..., None]
    image = blend(image, image * 1.25 + 18, copper / np.float32(255))
    image = blend(image, np.array(PRINT, np.float32), silk / np.float32(255) * 0.85)
    image = blend(image, np.array((18, 22, 20), np.float32), holes / np.float32(255))
    inside = [p for p in pads if p.x + p.width > 0 and p.y + p.height > 0 and p.x < width and p.y < height]
    for pad in inside:
        solder(rng, image, pad, finish)
    image *= lighting(rng, size, rng.uniform(0.1, 0.22))[..., None]
    image += 2 * smooth_noise(rng, size, (1, 1))[..., None]
    whole = [p for p in inside if p.x >= 1 and p.y >= 1 and p.x + p.width < width and p.y + p.height < height]
    return Surface(to_uint8(image), whole)


def blend(under: Array, over: Array, cover: Array) -> Array:
    """`over` on `under` where `cover` (H, W), in [0, 1], is 1."""
    return np.asarray(under + (over - under) * cover[..., None], np.float32)


def solder(rng: np.random.Generator, image: Array, pad: Pad, finish: Array) -> None:
    """Draw the copper of a pad into `image`: a finish that shines from the upper left."""
    height, width = image.shape[:2]
    y0, x0, y1, x1 = (
        max(pad.y, 0),
        max(pad.x, 0),
        min(pad.y + pad.height, height),
        min(pad.x + pad.width, width),
    )
    cut = np.s_[y0 - pad.y : y1 - pad.y, x0 - pad.x : x1 - pad.x]
    down = np.linspace(0, 1, pad.height, dtype=np.float32)[:, None]
    across = np.linspace(0, 1, pad.width, dtype=np.float32)[None, :]
    shine = (1.12 - 0.26 * (down + across) / 2) * rng.uniform(0.94, 1.04)
    cover = pad_mask(pad.width, pad.height, pad.round)
    metal = np.asarray(shine[..., None] * finish, np.float32)
    image[y0:y1, x0:x1] = blend(image[y0:y1, x0:x1], metal[cut], cover[cut])
