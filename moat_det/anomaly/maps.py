"""From distances on the grid of a backbone to a map of the image's own pixels."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from moat_det.data.sizes.letterbox import Placement
from moat_det.data.sizes.shape import Shape

SMOOTHED = 0.5
"""Standard deviation of the smoothing in cells of 8 pixels: the 4 pixels of PatchCore's section 3.3."""


class Cells(NamedTuple):
    """The cells of a grid whose centres lie in an image, and not in the padding around it.

    Attributes:
        rows: Of the grid.
        columns: Of the grid.
    """

    rows: slice
    columns: slice


def own_cells(place: Placement, size: Shape, grid: Shape, stride: int) -> Cells:
    """Find the cells of an image.

    Args:
        place: Where it lies in the input.
        size: Its height and width in its file.
        grid: Rows and columns of the grid.
        stride: Pixels of the input per cell.

    Returns:
        One row and one column at least, however small it is.
    """
    rows = _within(place.top, place.scale_y * size[0], grid[0], stride)
    return Cells(rows, _within(place.left, place.scale_x * size[1], grid[1], stride))


def smooth(distances: np.ndarray) -> np.ndarray:
    """Smooth distances (H, W) float32 over their neighbours; beyond the edge the last one goes on."""
    return cv2.GaussianBlur(distances, (0, 0), SMOOTHED, borderType=cv2.BORDER_REPLICATE)


def to_pixels(values: np.ndarray, cells: Cells, place: Placement, size: Shape, stride: int) -> np.ndarray:
    """Interpolate values between the centres of their cells, to the centre of each pixel of the image's file.

    Args:
        values: (rows, columns) float32 of the image's cells.
        cells: Which ones of the grid they are.
        place: Where the image lies in the input.
        size: Its height and width in its file.
        stride: Pixels of the input per cell.

    Returns:
        (H, W) float32.
    """
    by_rows = _interpolate(values, place.top, place.scale_y, size[0], cells.rows.start, stride)
    return _interpolate(by_rows.T, place.left, place.scale_x, size[1], cells.columns.start, stride).T


def _within(begin: float, length: float, cells: int, stride: int) -> slice:
    """Give the cells whose centres lie in [begin, begin + length) pixels; of none, the one that the middle lies in."""
    first, end = (max(int(np.ceil(edge / stride - 0.5)), 0) for edge in (begin, begin + length))
    if first >= min(end, cells):
        first = min(int((begin + length / 2) / stride), cells - 1)
        end = first + 1
    return slice(first, min(end, cells))


def _interpolate(values: np.ndarray, begin: float, scale: float, pixels: int, first: int, stride: int) -> np.ndarray:
    """Interpolate along the first axis, to the centres of an image's pixels; before and after it, its ends go on."""
    at = ((np.arange(pixels) + 0.5) * scale + begin) / stride - 0.5 - first
    at = at.clip(0, len(values) - 1)
    below = np.minimum(at.astype(int), max(len(values) - 2, 0))
    share = (at - below).astype(np.float32)[:, None]
    return values[below] * (1 - share) + values[np.minimum(below + 1, len(values) - 1)] * share
