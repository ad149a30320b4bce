"""The defects of the demo parts, each painted over a patch of a surface that is lit from the upper left.

A patch is float32 (H, W, 3), BGR in 0..255; a new one is returned, not clipped.
"""

from __future__ import annotations

import cv2
import numpy as np

from moat_det.demo.board import LAMINATE, blend, pad_mask
from moat_det.demo.surfaces import Array, Pad, smooth_noise

LIGHT = np.array([-0.7071, -0.7071], np.float32)  # (y, x), towards the lamp


def scratch(rng: np.random.Generator, patch: Array) -> Array:
    """Draw a bent, tapering line from corner to corner that shows bare metal, with a shadow along one side."""
    height, width = patch.shape[:2]
    fine = 4
    t = np.linspace(0, 1, 24)
    y, x = 4 + t * (height - 8), 4 + t * (width - 8)
    bow = rng.uniform(-0.12, 0.12) * np.sin(np.pi * t) * (4 * t * (1 - t)) ** 0.5
    y, x = y + bow * (width - 8), x - bow * (height - 8)
    if rng.random() < 0.5:
        x = width - x
    points = np.rint(np.stack([x, y], 1) * fine).astype(np.int32)
    thickness = rng.uniform(2.0, 3.2) * fine * (0.45 + 0.55 * np.sin(np.pi * t))
    line = np.zeros((height * fine, width * fine), np.uint8)
    for start, end, thick in zip(points[:-1], points[1:], thickness[1:], strict=True):
        cv2.line(line, [int(v) for v in start], [int(v) for v in end], 255, max(1, round(float(thick))))
    cover = np.asarray(cv2.resize(line, (width, height), interpolation=cv2.INTER_AREA) / 255, np.float32)
    shadow = cv2.warpAffine(cover, np.array([[1, 0, 1.2], [0, 1, 1.2]], np.float32), (width, height))
    level = float(patch.mean())
    metal = np.array([0.97, 1.0, 1.02], np.float32) * (max(level + 95, 205) if level < 150 else 252)
    shaded = blend(patch, patch * 0.42, np.asarray(shadow, np.float32))
    return blend(shaded, metal, cover)


def pit(rng: np.random.Generator, patch: Array) -> Array:
    """Draw a hollow with an uneven outline: its wall towards the lamp lies in shadow, the far rim shines."""
    height, width = patch.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    angle = np.arctan2(y, x)
    uneven = sum(rng.uniform(0, 0.22 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 5))
    radius = np.sqrt((y / (height / 2 - 3)) ** 2 + (x / (width / 2 - 3)) ** 2) / (0.86 + 0.6 * uneven)
    pixel = 2.0 / min(height, width)
    inside = np.clip((1 - radius) / pixel + 0.5, 0, 1).astype(np.float32)
    rim = np.exp(-(((radius - 1 - pixel) / (1.2 * pixel)) ** 2)).astype(np.float32)
    towards = (LIGHT[0] * y + LIGHT[1] * x) / (min(height, width) / 2)
    depth = 0.24 + 0.26 * np.clip(0.5 - towards / 2, 0, 1)
    glint = np.clip(-towards, 0, 1) * rim * 70
    lit = np.asarray(patch + glint[..., None], np.float32)
    return blend(lit, patch * depth[..., None].astype(np.float32), inside)


def stain(rng: np.random.Generator, patch: Array) -> Array:
    """Draw a dried drop, of rust or of oil: one blot that lets the texture through, with a darker edge."""
    height, width = patch.shape[:2]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    field = 0.82 - np.sqrt(x**2 + y**2) + 0.13 * smooth_noise(rng, (height, width), (9, 9))
    field = np.minimum(field, np.minimum(1 - np.abs(x), 1 - np.abs(y)) - 0.03)
    field = np.where(largest_part(field > 0), field, 0)
    cover = np.clip(field / 0.1, 0, 1) * (0.82 + 0.3 * np.exp(-(((field - 0.12) / 0.08) ** 2)))
    rust, oil = (0.34, 0.52, 0.78), (0.46, 0.48, 0.5)
    tint = np.array(rust if rng.random() < 0.6 else oil, np.float32)
    return blend(patch, patch * tint, cover.astype(np.float32))


def missing_pad(rng: np.random.Generator, patch: Array, pad: Pad) -> Array:
    """Draw the opening of a pad that lacks its copper: the laminate's brown weave shows; a drilled hole stays."""
    weave = 1 + 0.10 * smooth_noise(rng, patch.shape[:2], (2, 2))
    weave *= np.linspace(0.8, 1.15, patch.shape[0], dtype=np.float32)[:, None]  # the mask's edge throws a shadow
    laminate = np.array(LAMINATE, np.float32) * weave[..., None]
    return blend(patch, np.asarray(laminate, np.float32), pad_mask(pad.width, pad.height, pad.round))


def largest_part(mask: np.ndarray) -> np.ndarray:
    """Give the largest connected part of a boolean mask."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count == 1:
        return mask
    return np.asarray(labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])))
