"""Truth beside detection: a piece of an image twice, with its labels on the left and what was found on the right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from moat_det.report.fonts import font_file
from moat_det.report.pictures import draw_boxes

_MARKED, _OTHERS = 0, 1  # colours of boxes
_REACH = 2.2  # side of the piece, in sizes of what is marked
_LEAST = 150  # px, of the piece
_STRIP = 22  # px, of the line of text
_GAP = 4


class Marks(NamedTuple):
    """Boxes on a picture.

    Attributes:
        boxes: (N, 4) xyxy in pixels.
        texts: N of them, to write at each.
        marked: N of them, whether each is what the picture is about.
    """

    boxes: np.ndarray
    texts: Sequence[str]
    marked: Sequence[bool]


def truth_beside_found(image: np.ndarray, truth: Marks, found: Marks, title: str, side: int = 260) -> np.ndarray:
    """Draw the piece of an image around the marked boxes: with its labels, and beside it with what was found.

    Args:
        image: (H, W, 3) uint8, RGB.
        truth: The labels.
        found: The detections.
        title: A line above; cut where it is too long.
        side: Height and width of each of the two, in pixels; the piece is scaled to fit.

    Returns:
        (side + 22, 2 * side + 4, 3) uint8, RGB; what is marked is vermillion, all else blue.
    """
    left, top, right, bottom = _piece(image.shape[:2], truth, found)
    piece = image[top:bottom, left:right]
    scale = side / max(piece.shape[:2])
    size = [max(round(length * scale), 1) for length in piece.shape[1::-1]]
    piece = cv2.resize(piece, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    canvas = np.full((side + _STRIP, 2 * side + _GAP, 3), 255, np.uint8)
    for marks, x in ((truth, 0), (found, side + _GAP)):
        boxes = (np.asarray(marks.boxes, dtype=float).reshape(-1, 4) - [left, top, left, top]) * scale
        inside = (boxes[:, 2:] > 0).all(axis=1) & (boxes[:, :2] < size).all(axis=1)
        # What is marked is drawn last.
        order = [k for k in np.argsort(np.asarray(marks.marked, dtype=bool), kind="stable") if inside[k]]
        colours = [_MARKED if marks.marked[k] else _OTHERS for k in order]
        drawn = draw_boxes(piece, np.clip(boxes[order], 0, [*size, *size]), [marks.texts[k] for k in order], colours)
        canvas[_STRIP : _STRIP + size[1], x : x + size[0]] = drawn
    return _write(canvas, title)


def _piece(shape: tuple[int, int], truth: Marks, found: Marks) -> tuple[int, int, int, int]:
    """Give left, top, right and bottom of what is shown: a square, but for the image's edges."""
    height, width = shape
    marked = [box for marks in (truth, found) for box, mark in zip(marks.boxes, marks.marked, strict=True) if mark]
    if not marked:
        return 0, 0, width, height
    corners = np.asarray(marked, dtype=float)
    low, high = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
    half = max(_REACH * (high - low).max(), _LEAST) / 2
    middle = (low + high) / 2
    left, top = np.floor(np.clip(middle - half, 0, [max(width - 1, 0), max(height - 1, 0)])).astype(int)
    right, bottom = np.ceil(np.clip(middle + half, [left + 1, top + 1], [width, height])).astype(int)
    return int(left), int(top), int(right), int(bottom)


def _write(canvas: np.ndarray, title: str) -> np.ndarray:
    picture = Image.fromarray(canvas)
    font = ImageFont.truetype(font_file([title]), 13)
    pen = ImageDraw.Draw(picture)
    while title and pen.textlength(title, font=font) > canvas.shape[1] - 4:
        title = title[:-2].rstrip("…") + "…"
    pen.text((2, 3), title, fill="black", font=font)
    return np.asarray(picture)
