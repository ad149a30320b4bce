"""Pictures for people: boxes with their names drawn on an image, and images side by side on a sheet."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.ImageFont import FreeTypeFont

from moat_det.report.palette import BOX_COLOURS

logger = logging.getLogger(__name__)

_LEAST_CAPTION = 6  # pixels: a smaller text cannot be read


def draw_boxes(
    image: np.ndarray,
    boxes: np.ndarray,
    texts: Sequence[str],
    classes: Sequence[int],
    thickness: int = 1,
    line: int | None = None,
) -> np.ndarray:
    """Draw boxes with a text at each.

    Args:
        image: (H, W, 3) uint8, RGB.
        boxes: (N, 4), xyxy in pixels.
        texts: N of them, in any script; an empty one is left out.
        classes: N numbers, each a colour of `BOX_COLOURS`.
        thickness: Of the lines, in widths of the usual one.
        line: Their width in pixels instead; None follows from the image's size.

    Returns:
        A new image, (H, W, 3) uint8, RGB.
    """
    picture = Image.fromarray(np.ascontiguousarray(image))
    pen = ImageDraw.Draw(picture)
    height, width = image.shape[:2]
    font = _font(texts, int(np.clip(round(min(height, width) / 40), 10, 40)))
    line = line or max(round(max(height, width) / 640), 1) * thickness
    for (x1, y1, x2, y2), text, number in zip(boxes.tolist(), texts, classes, strict=True):
        colour = BOX_COLOURS[int(number) % len(BOX_COLOURS)]
        # The pixels just outside the box: what lies within stays visible, down to a defect of one pixel.
        pen.rectangle((x1 - line, y1 - line, x2 - 1 + line, y2 - 1 + line), outline=colour, width=line)
        if text:
            left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
            x = min(max(x1 - line, 0), max(width - right, 0))
            y = y1 - line - bottom if y1 - line - bottom >= 0 else min(y2 + line, height - bottom)
            pen.rectangle((x + left, y + top, x + right, y + bottom), fill=colour)
            pen.text((x, y), text, fill="black", font=font)
    return np.asarray(picture)


def draw_caption(image: np.ndarray, text: str) -> np.ndarray:
    """Write a text into the lower left corner of an image (H, W, 3) uint8, RGB; gives a new one."""
    picture = Image.fromarray(np.ascontiguousarray(image))
    pen = ImageDraw.Draw(picture)
    height, width = image.shape[:2]
    size = int(np.clip(round(min(height, width) / 30), 10, 40))
    font = _font([text], size)
    while size > _LEAST_CAPTION and pen.textlength(text, font) > width:
        size -= 1
        font = _font([text], size)
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    pen.rectangle((0, height - (bottom - top) - 4, right - left + 4, height), fill="white")
    pen.text((2 - left, height - bottom - 2), text, fill="black", font=font)
    return np.asarray(picture)


def sheet(pictures: Sequence[np.ndarray], columns: int, cell: tuple[int, int], gap: int = 6) -> np.ndarray:
    """Put pictures in rows, each scaled to fit a cell and centred on white.

    Args:
        pictures: (H, W, 3) uint8 each, in reading order.
        columns: Pictures in a row.
        cell: Height and width of a cell in pixels.
        gap: White between cells, in pixels.

    Returns:
        (H, W, 3) uint8.
    """
    rows, (high, wide) = -(-len(pictures) // columns), cell
    canvas = np.full((rows * (high + gap) - gap, columns * (wide + gap) - gap, 3), 255, np.uint8)
    for index, picture in enumerate(pictures):
        scale = min(high / picture.shape[0], wide / picture.shape[1])
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        size = [max(round(side * scale), 1) for side in picture.shape[1::-1]]
        picture = picture if scale == 1 else cv2.resize(picture, size, interpolation=method)
        height, width = picture.shape[:2]
        top = index // columns * (high + gap) + (high - height) // 2
        left = index % columns * (wide + gap) + (wide - width) // 2
        canvas[top : top + height, left : left + width] = picture
    return canvas


def _font(texts: Sequence[str], size: int) -> FreeTypeFont:
    """Give Pillow's own font, which is the same everywhere, where it has the letters; else an installed one."""
    if all(text.isascii() for text in texts) or not _finds_fonts():
        return _own_font(size)
    from moat_det.report.fonts import font_file

    return _installed_font(font_file(texts), size)


@cache
def _own_font(size: int) -> FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, FreeTypeFont)  # as in all wheels of Pillow
    return font


@cache
def _installed_font(file: Path, size: int) -> FreeTypeFont:
    return ImageFont.truetype(file, size)


@cache
def _finds_fonts() -> bool:
    """Whether there is matplotlib, which finds the installed fonts: the runtime does without; says once if not."""
    found = find_spec("matplotlib") is not None
    if not found:
        logger.warning("names that are not in ASCII are empty boxes in pictures: pip install matplotlib finds a font")
    return found
