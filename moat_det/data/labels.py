"""YOLO label files: finding, reading and cleaning them. Nothing is written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import numpy as np
from ultralytics.utils import LOCAL_RANK, LOGGER, NUM_THREADS, TQDM

from moat_det.data.images import ImageHeader, any_size, read_header
from moat_det.errors import UserError

# Labels are written with few decimals: a box that leaves the image by less is clipped without a word.
_EDGE_PIXELS = 0.5
# Thinner is no box but the rounding error of one.
_SMALLEST_SIDE_PIXELS = 1e-2
# Coordinates are shares of the image: beyond this they are pixels, and clipping would hide it.
_LARGEST_COORDINATE = 2.0
_SHOWN_FILES = 5


@dataclass
class Cleaning:
    """How many rows of label files were changed, by kind.

    Attributes:
        duplicates: Rows dropped, as the same class and box stand before them.
        no_area: Rows dropped, as no area is left of them within the image.
        clipped: Boxes cut at the image's edge, which they passed by more than half a pixel.
        polygons: Polygons replaced by the box around them.
    """

    duplicates: int = 0
    no_area: int = 0
    clipped: int = 0
    polygons: int = 0

    def add(self, other: Cleaning) -> None:
        """Add the counts of `other` to these."""
        for name in (f.name for f in fields(Cleaning)):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def __str__(self) -> str:
        """The counts above zero, in words; empty when nothing was changed."""
        words = {
            "duplicates": "duplicate boxes dropped",
            "no_area": "boxes without area dropped",
            "clipped": "boxes clipped at the edge",
            "polygons": "polygons turned into boxes",
        }
        counts = {text: getattr(self, name) for name, text in words.items()}
        return ", ".join(f"{count} {text}" for text, count in counts.items() if count)


@dataclass
class Labels:
    """The boxes of one image.

    Attributes:
        classes: (N,) int64.
        boxes: (N, 4) float64, xyxy in pixels, within the image.
        shares: (N, 4) float64, centre x, centre y, width, height as shares of the image's sides.
        cleaning: What was changed on the way.
    """

    classes: np.ndarray
    boxes: np.ndarray
    shares: np.ndarray
    cleaning: Cleaning = field(default_factory=Cleaning)


@dataclass
class ScanReport:
    """What a scan of a split found.

    Attributes:
        images: Readable images.
        labelled: Images with one box or more.
        backgrounds: Images whose label file is missing or holds no box.
        unreadable: (file, reason) of each image that was left out.
        deep: Images with more than 8 bits per sample.
        cleaning: Changes to the label rows.
    """

    images: int = 0
    labelled: int = 0
    backgrounds: int = 0
    unreadable: list[tuple[Path, str]] = field(default_factory=list)
    deep: int = 0
    cleaning: Cleaning = field(default_factory=Cleaning)

    def log(self, prefix: str = "") -> None:
        """Log one line of counts, and one for each thing that deserves the user's eye."""
        LOGGER.info(
            f"{prefix}{self.images} images: {self.labelled} with boxes, {self.backgrounds} backgrounds, "
            f"{len(self.unreadable)} unreadable"
        )
        if text := str(self.cleaning):
            LOGGER.warning(f"{prefix}labels cleaned (the files stay as they are): {text}")
        for path, reason in self.unreadable[:_SHOWN_FILES]:
            LOGGER.warning(f"{prefix}left out {path}: {reason}")
        if len(self.unreadable) > _SHOWN_FILES:
            LOGGER.warning(f"{prefix}left out {len(self.unreadable) - _SHOWN_FILES} more unreadable images")
        if self.deep:
            LOGGER.warning(
                f"{prefix}{self.deep} images have more than 8 bits per sample: only the high byte is read; "
                "scale them to 8 bits yourself where the low bits matter (12-bit data turns nearly black)"
            )


def label_path(image: Path) -> Path:
    """Give the label file of an image.

    The last folder `images` of its path becomes `labels`; if no file is there, one beside the image counts.

    Args:
        image: The image's absolute path.

    Returns:
        The path of the .txt file, which need not exist.
    """
    beside = image.with_suffix(".txt")
    parts = list(beside.parts)
    for i in range(len(parts) - 2, -1, -1):
        if parts[i] == "images":
            parts[i] = "labels"
            apart = Path(*parts)
            return beside if beside.is_file() and not apart.is_file() else apart
    return beside


def read_labels(file: Path, header: ImageHeader, num_classes: int | None) -> Labels:
    """Read a YOLO label file and clean its rows.

    A row is `class x y w h` (centre, width, height) or a polygon `class x1 y1 x2 y2 x3 y3 ...`, all as shares
    of the image's sides.

    Args:
        file: The .txt file; a missing or empty one means an image without boxes.
        header: The size of the image.
        num_classes: Class ids from this number on are refused; None accepts every id.

    Returns:
        The boxes in the order of their rows.

    Raises:
        UserError: A row is malformed or its class id unknown; the message names the file and the line.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines() if file.is_file() else []
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not a UTF-8 text; a label file has rows of 'class x y w h'") from error
    lines_in_use = [(number, columns) for number, line in enumerate(lines, 1) if (columns := line.split())]
    rows = [_parse_row(columns, f"{file}, line {number}", num_classes) for number, columns in lines_in_use]
    cleaning = Cleaning(polygons=sum(len(columns) > 5 for _, columns in lines_in_use))
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    size = np.array([header.width, header.height] * 2, dtype=np.float64)

    centre, side = table[:, 1:3], table[:, 3:]
    corners = np.hstack([centre - side / 2, centre + side / 2])
    inside = corners.clip(0, 1)
    low, high = inside[:, :2], inside[:, 2:]
    # Boxes within the image keep the digits of the file.
    moved = (inside != corners).any(axis=1, keepdims=True)
    table[:, 1:] = np.where(moved, np.hstack([(low + high) / 2, high - low]), table[:, 1:])

    has_area = ((high - low) * size[:2] >= _SMALLEST_SIDE_PIXELS).all(axis=1)
    cleaning.no_area = int((~has_area).sum())
    passed = (np.abs(inside - corners) * size > _EDGE_PIXELS).any(axis=1)
    cleaning.clipped = int((passed & has_area).sum())
    table, boxes = table[has_area], inside[has_area] * size
    first = np.sort(np.unique(table, axis=0, return_index=True)[1])
    cleaning.duplicates = len(table) - len(first)
    return Labels(table[first, 0].astype(np.int64), boxes[first], table[first, 1:], cleaning)


def _parse_row(columns: list[str], where: str, num_classes: int | None) -> list[float]:
    """Give the class, centre x, centre y, width and height of a row."""
    is_polygon = len(columns) >= 7 and len(columns) % 2 == 1
    if len(columns) != 5 and not is_polygon:
        raise UserError(
            f"{where}: {len(columns)} columns; write 'class x y w h', or a polygon as 'class x1 y1 x2 y2 ...'"
        )
    try:
        cls, *coordinates = map(float, columns)
    except ValueError as error:
        raise UserError(f"{where}: {error}; write numbers, separated by spaces") from error
    if not all(map(math.isfinite, (cls, *coordinates))):
        raise UserError(f"{where}: not all values are finite; correct or remove the row")
    if cls < 0 or not cls.is_integer():
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


def scan(images: Sequence[Path], num_classes: int | None, prefix: str = "") -> tuple[list[dict[str, Any]], ScanReport]:
    """Read the headers and labels of images, with a progress bar.

    Args:
        images: The image files.
        num_classes: Number of class names, or None to accept every class id.
        prefix: Put before each message.

    Returns:
        A label dictionary of the engine per readable image, in the order of `images`: `im_file`, `shape`
        (h, w) after the EXIF rotation, `cls` float32 (N, 1), `bboxes` float32 (N, 4) normalised xywh; with
        one key of ours, `boxes_xyxy`: float64 (N, 4), in pixels. And the report.

    Raises:
        UserError: A label file is malformed, or no image is readable.
    """

    def read(image: Path) -> tuple[ImageHeader, Labels] | str:
        try:
            header = read_header(image)
        except OSError as error:
            return error.strerror or str(error)
        return header, read_labels(label_path(image), header, num_classes)

    labels: list[dict[str, Any]] = []
    report = ScanReport()
    with any_size(), ThreadPool(NUM_THREADS) as pool:
        results = TQDM(pool.imap(read, images), f"{prefix}Scanning", total=len(images), disable=LOCAL_RANK > 0)
        for image, result in zip(images, results, strict=True):
            if isinstance(result, str):
                report.unreadable.append((image, result))
                continue
            header, found = result
            report.images += 1
            report.labelled += len(found.classes) > 0
            report.deep += header.deep
            report.cleaning.add(found.cleaning)
            labels.append(
                {
                    "im_file": str(image),
                    "shape": (header.height, header.width),
                    "cls": found.classes.astype(np.float32)[:, None],
                    "bboxes": found.shares.astype(np.float32),
                    "boxes_xyxy": found.boxes,
                    "segments": [],
                    "keypoints": None,
                    "normalized": True,
                    "bbox_format": "xywh",
                }
            )
    report.backgrounds = report.images - report.labelled
    if not labels:
        path, reason = report.unreadable[0]
        raise UserError(f"none of the {len(images)} images is readable, the first is {path}: {reason}; replace them")
    return labels, report
