"""YOLO labels: a text file per image, one row per box."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import partial

import numpy as np

from moat_det.data.formats.boxes import Labels, clean_boxes
from moat_det.data.formats.records import Record
from moat_det.data.images.header import ImageHeader
from moat_det.errors import UserError

# Coordinates are shares of the image: beyond this they are pixels, and clipping would hide it.
_LARGEST_COORDINATE = 2.0


class YoloSource:
    """Images whose labels lie in text files.

    Args:
        images: The images, absolute.
        num_classes: Class ids from this number on are refused; None accepts every id.
    """

    format = "yolo"

    def __init__(self, images: Sequence[str], num_classes: int | None) -> None:
        self.images = images
        self._num_classes = num_classes

    def listing(self) -> Sequence[str]:
        """The images."""
        return self.images

    def records(self) -> list[Record]:
        """The images; a label file that is missing means an image without boxes."""
        records = []
        for image in self.images:
            places = label_places(image)
            label = next((place for place in places if os.path.isfile(place)), None)
            read = partial(read_labels, label, num_classes=self._num_classes)
            records.append(Record(image, read, places[: places.index(label) + 1] if label else places))
        return records


def label_places(image: str) -> tuple[str, ...]:
    """Give the places where the label file of an image may be, the first one that exists counts.

    The last folder `images` of its path becomes `labels`; else the file lies beside the image.

    Args:
        image: The image's absolute path.
    """
    beside = os.path.splitext(image)[0] + ".txt"
    before, middle, after = beside.rpartition(f"{os.sep}images{os.sep}")
    return (f"{before}{os.sep}labels{os.sep}{after}", beside) if middle else (beside,)


def read_labels(file: str | None, header: ImageHeader, num_classes: int | None) -> Labels:
    """Read a YOLO label file.

    A row is `class x y w h` (centre, width, height) or a polygon `class x1 y1 x2 y2 x3 y3 ...`, all as shares
    of the image's sides.

    Args:
        file: The .txt file; None for an image without boxes.
        header: The size of the image.
        num_classes: Class ids from this number on are refused; None accepts every id.

    Returns:
        The boxes in the order of their rows.

    Raises:
        UserError: A row is malformed or its class id unknown; the message names the file and the line.
    """
    lines = [] if file is None else read_lines(file)
    lines_in_use = [(number, columns) for number, line in enumerate(lines, 1) if (columns := line.split())]
    rows = [parse_row(columns, f"{file}, line {number}", num_classes) for number, columns in lines_in_use]
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    centre, side = table[:, 1:3], table[:, 3:]
    boxes = np.hstack([centre - side / 2, centre + side / 2]) * ([header.width, header.height] * 2)
    labels = clean_boxes(table[:, 0], boxes, (header.height, header.width), shares=table[:, 1:])
    labels.cleaning.polygons = sum(len(columns) > 5 for _, columns in lines_in_use)
    return labels


def read_lines(file: str) -> list[str]:
    """Give the lines of a label file; raises `UserError` where it is no UTF-8 text or cannot be read."""
    try:
        with open(file, encoding="utf-8-sig") as text:
            return text.read().splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not a UTF-8 text; a label file has rows of 'class x y w h'") from error
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}); check its permissions") from error


def parse_row(columns: list[str], where: str, num_classes: int | None) -> list[float]:
    """Read a row of a label file.

    Args:
        columns: The words of the row.
        where: The file and the line, for the error.
        num_classes: Class ids from this number on are refused; None accepts every id.

    Returns:
        The class, and centre x, centre y, width and height as shares of the image's sides.

    Raises:
        UserError: The row is malformed or its class id unknown.
    """
    is_polygon = len(columns) >= 7 and len(columns) % 2 == 1
    if len(columns) != 5 and not is_polygon:
        raise UserError(
            f"{where}: {len(columns)} columns; write 'class x y w h', or a polygon as 'class x1 y1 x2 y2 ...'"
        )
    try:
        cls, *coordinates = map(float, columns)
    except ValueError as error:
        raise UserError(f"{where}: {str(error)[:100]}; write numbers, separated by spaces") from error
    if not all(map(math.isfinite, (cls, *coordinates))):
        raise UserError(f"{where}: not all values are finite; correct or remove the row")
    if cls < 0 or not cls.is_integer() or cls > 2**31:
        raise UserError(f"{where}: class id {columns[0]} is not a whole number from 0 on; correct the row")
    if num_classes is not None and cls >= num_classes:
        raise UserError(
            f"{where}: class id {int(cls)}, but the dataset YAML has {num_classes} names (ids 0 to "
            f"{num_classes - 1}); add the name or correct the row"
        )
    largest = max(coordinates, key=abs)
    if abs(largest) > _LARGEST_COORDINATE:
        raise UserError(
            f"{where}: coordinate {largest:g} is no share of the image's side (0 to 1); "
            "divide pixels by the image's width and height"
        )
    if not is_polygon:
        return [cls, *coordinates]
    x, y = coordinates[::2], coordinates[1::2]
    return [cls, (min(x) + max(x)) / 2, (min(y) + max(y)) / 2, max(x) - min(x), max(y) - min(y)]
