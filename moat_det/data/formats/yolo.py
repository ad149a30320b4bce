"""YOLO labels: a text file per image, one row per box."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import partial

from moat_det.data.formats.annotation import Annotation, Row
from moat_det.data.formats.faults import AnnotationError, OnFault
from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.data.formats.records import Record

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
        """Give the images."""
        return self.images

    def records(self, on_fault: OnFault) -> list[Record]:
        """Give the images; a label file that is missing means an image without boxes."""
        records = []
        for image in self.images:
            places = label_places(image)
            file = next((place for place in places if os.path.isfile(place)), None)
            read = partial(read_labels, file, self._num_classes, on_fault, image)
            records.append(Record(image, read, file, places[: places.index(file) + 1] if file else places))
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


def read_labels(file: str | None, num_classes: int | None, on_fault: OnFault, image: str | None = None) -> Annotation:
    """Read a YOLO label file.

    A row is `class x y w h` (centre, width, height) or a polygon `class x1 y1 x2 y2 x3 y3 ...`, all as shares
    of the image's sides.

    Args:
        file: The .txt file; None for an image without boxes.
        num_classes: Class ids from this number on are refused; None accepts every id.
        on_fault: Gets what is wrong with a row, by its line, or with the file.
        image: The image, for the faults.

    Returns:
        The boxes in the order of their rows, as shares.
    """
    annotation = Annotation(in_shares=True)
    if file is None:
        return annotation
    try:
        lines = read_lines(file)
    except AnnotationError as error:
        annotation.lost += 1
        on_fault(error.at(file, image=image))
        return annotation
    for number, line in enumerate(lines, 1):
        if columns := line.split():
            place = f"line {number}"
            try:
                annotation.rows.append(parse_row(columns, place, num_classes))
            except AnnotationError as error:
                annotation.lost += 1
                on_fault(error.at(file, place, image))
    return annotation


def read_lines(file: str) -> list[str]:
    """Give the lines of a label file; raises `AnnotationError` where it is no UTF-8 text or cannot be read."""
    try:
        with open(file, encoding="utf-8-sig") as text:
            return text.read().splitlines()
    except UnicodeDecodeError as error:
        problem = "not a UTF-8 text; a label file has rows of 'class x y w h'"
        raise AnnotationError(problem, "unreadable_labels") from error
    except OSError as error:
        problem = f"cannot be read ({error.strerror}); check its permissions"
        raise AnnotationError(problem, "unreadable_labels") from error


def parse_row(columns: list[str], place: str, num_classes: int | None) -> Row:
    """Read a row of a label file.

    Args:
        columns: The words of the row.
        place: Where it stands.
        num_classes: Class ids from this number on are refused; None accepts every id.

    Raises:
        AnnotationError: The row is malformed or its class id unknown.
    """
    is_polygon = len(columns) >= 7 and len(columns) % 2 == 1
    if len(columns) != 5 and not is_polygon:
        raise AnnotationError(f"{len(columns)} columns; write 'class x y w h', or a polygon as 'class x1 y1 x2 y2 ...'")
    try:
        cls, *coordinates = map(float, columns)
    except ValueError as error:
        raise AnnotationError(f"{str(error)[:100]}; write numbers, separated by spaces") from error
    if not all(map(math.isfinite, (cls, *coordinates))):
        raise AnnotationError("not all values are finite; correct or remove the row")
    if cls < 0 or not cls.is_integer() or cls > 2**31:
        raise AnnotationError(f"class id {columns[0]} is not a whole number from 0 on; correct the row")
    largest = max(coordinates, key=abs)
    if abs(largest) > _LARGEST_COORDINATE:
        raise AnnotationError(
            f"coordinate {largest:g} is no share of the image's side (0 to 1); "
            "divide pixels by the image's width and height"
        )
    if num_classes is not None and cls >= num_classes:
        raise AnnotationError(
            f"class id {int(cls)}, but the dataset YAML has {num_classes} names (ids 0 to {num_classes - 1}); "
            "add the name or correct the row",
            "unknown_class",
        )
    if not is_polygon:
        return Row(int(cls), coordinates, place)
    x, y = coordinates[::2], coordinates[1::2]
    around = ((min(x) + max(x)) / 2, (min(y) + max(y)) / 2, max(x) - min(x), max(y) - min(y))
    return Row(int(cls), around, place, polygon=True)


def yolo_text(image: LabelledImage, number: str = ".12g") -> str:
    """Give the content of an image's label file; ignored regions are left out, which YOLO cannot hold.

    Args:
        image: The image and its boxes.
        number: How a share is written, as `format` takes it.
    """
    objects = ~image.ignored
    rows = zip(image.classes[objects].tolist(), image.shares[objects].tolist(), strict=True)
    return "".join(f"{cls} {' '.join(format(share, number) for share in shares)}\n" for cls, shares in rows)
