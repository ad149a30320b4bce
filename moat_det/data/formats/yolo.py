"""YOLO labels: a text file per image, one row per box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property, partial

from moat_det.data.formats.annotation import Annotation, Row
from moat_det.data.formats.faults import AnnotationError, OnFault
from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.data.formats.numbers import read_number
from moat_det.data.formats.records import Record
from moat_det.data.formats.yolo_files import find_labels, unused_texts
from moat_det.messages import one_line
from moat_det.text import SAVE_AS_UTF_8, NotTextError, read_utf8

# Coordinates are shares of the image: beyond this they are pixels, and clipping would hide it.
_LARGEST_COORDINATE = 2.0


class YoloSource:
    """Images whose labels lie in text files.

    Args:
        images: The images, absolute.
        num_classes: Class ids from this number on are refused; None accepts every id.
        keypoints: Numbers that may follow the box in a row, as the dataset's YAML says of a pose dataset.
        others: Files that lie among the images, absolute.
    """

    format = "yolo"

    def __init__(
        self, images: Sequence[str], num_classes: int | None, keypoints: int = 0, others: Sequence[str] = ()
    ) -> None:
        self.images = images
        self._num_classes = num_classes
        self._keypoints = keypoints
        self._others = others

    @cached_property
    def _labels(self) -> dict[str, str | None]:
        return find_labels(self.images)

    def listing(self) -> Sequence[str]:
        """Give the images, and the label files of those that have one."""
        return [*self.images, *(file for file in self._labels.values() if file)]

    def unused(self) -> Sequence[str]:
        """Give what lies among the images, and the texts among the labels, that belong to no image."""
        used = set(self._labels.values())
        texts = (file for file, _ in unused_texts(self._labels))
        return sorted({*texts, *(file for file in self._others if file not in used)})

    def records(self, on_fault: OnFault) -> list[Record]:
        """Give the images; a label file that is missing means an image without boxes."""
        records = []
        for image, file in self._labels.items():
            read = partial(read_labels, file, self._num_classes, on_fault, image, self._keypoints)
            records.append(Record(image, read, file, (file,) if file else ()))
        return records


def read_labels(
    file: str | None, num_classes: int | None, on_fault: OnFault, image: str | None = None, keypoints: int = 0
) -> Annotation:
    """Read a YOLO label file.

    A row is `class x y w h` (centre, width, height) or a polygon `class x1 y1 x2 y2 x3 y3 ...`, all as shares
    of the image's sides; or, of a pose dataset, a box followed by its keypoints, which are left out.

    Args:
        file: The .txt file; None for an image without boxes.
        num_classes: Class ids from this number on are refused; None accepts every id.
        on_fault: Gets what is wrong with a row, by its line, or with the file.
        image: The image, for the faults.
        keypoints: Numbers that may follow the box in a row; 0 where the dataset has no keypoints.

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
                annotation.rows.append(parse_row(columns, place, num_classes, keypoints))
            except AnnotationError as error:
                annotation.lost += 1
                on_fault(error.at(file, place, image))
    return annotation


def read_lines(file: str) -> list[str]:
    """Give the lines of a label file; raises `AnnotationError` where it is no text or cannot be read."""
    try:
        return read_utf8(file).splitlines()
    except NotTextError as error:
        problem = f"not a UTF-8 text ({error}); {SAVE_AS_UTF_8}, in rows of 'class x y w h'"
        raise AnnotationError(problem, "unreadable_labels") from error
    except OSError as error:
        problem = f"cannot be read ({error.strerror}); check its permissions"
        raise AnnotationError(problem, "unreadable_labels") from error


def parse_row(columns: list[str], place: str, num_classes: int | None, keypoints: int = 0) -> Row:
    """Read a row of a label file.

    Args:
        columns: The words of the row.
        place: Where it stands.
        num_classes: Class ids from this number on are refused; None accepts every id.
        keypoints: Numbers that may follow the box; a row of a dataset that has keypoints is no polygon.

    Raises:
        AnnotationError: The row is malformed or its class id unknown.
    """
    if keypoints:
        if len(columns) not in (5, 5 + keypoints):
            raise AnnotationError(
                f"{len(columns)} columns; by 'kpt_shape' of the dataset YAML a row has a class, a box of 4 and "
                f"{keypoints} numbers of keypoints: correct the row or 'kpt_shape'"
            )
        columns = columns[:5]
    is_polygon = len(columns) >= 7 and len(columns) % 2 == 1
    if len(columns) != 5 and not is_polygon:
        pose = "; those of a pose dataset need 'kpt_shape' in its YAML" if len(columns) > 7 else ""
        raise AnnotationError(
            f"{len(columns)} columns; write 'class x y w h', or a polygon as 'class x1 y1 x2 y2 ...'{pose}"
        )
    try:
        cls, *coordinates = map(read_number, columns)
    except ValueError as error:
        raise AnnotationError(f"{one_line(error)}; write numbers, separated by spaces") from error
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
        if coordinates[2] < 0 or coordinates[3] < 0:
            raise AnnotationError("its box has a negative side; write 'class x y w h', as shares of the image's sides")
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
