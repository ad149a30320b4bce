"""The boxes of one image as its annotation has them, and how they are cleaned: the same way for every format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple

import numpy as np

from moat_det.data.formats.labelled_image import LabelledImage, box_shares

# Labels are written with few decimals: a box that leaves the image by less is clipped without a word.
EDGE_PIXELS = 0.5
# Thinner is no box but the rounding error of one.
SMALLEST_SIDE_PIXELS = 1e-2
# Beyond this no image reaches; such a number is a mistake, not a box past the edge.
LARGEST_PIXEL = 2.0**31


class Row(NamedTuple):
    """One box as the annotation has it.

    Attributes:
        cls: The class id.
        values: x1, y1, x2, y2 in pixels; or centre x, centre y, width, height as shares of the sides.
        place: Where it stands in the file, such as "line 3".
        ignored: Whether it is a region that is no object.
        polygon: Whether it is the box around a polygon.
    """

    cls: int
    values: Sequence[float]
    place: str
    ignored: bool = False
    polygon: bool = False


@dataclass
class Cleaning:
    """How many boxes were changed, by kind, and how many images that left without any.

    Attributes:
        duplicates: Boxes dropped, as the same class and box stand before them.
        no_area: Boxes dropped, as no area is left of them within the image.
        clipped: Boxes cut at the image's edge, which they passed by more than half a pixel.
        polygons: Polygons replaced by the box around them.
        emptied: Images of whose boxes none is left.
    """

    duplicates: int = 0
    no_area: int = 0
    clipped: int = 0
    polygons: int = 0
    emptied: int = 0

    def add(self, other: Cleaning) -> None:
        """Add the counts of `other` to these."""
        for name in (f.name for f in fields(Cleaning)):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def __str__(self) -> str:
        """Give the counts above zero, in words; empty when nothing was changed."""
        words = {
            "duplicates": "duplicate boxes dropped",
            "no_area": "boxes without area dropped",
            "clipped": "boxes clipped at the edge",
            "polygons": "polygons turned into boxes",
            "emptied": "images left without a box, which count as good parts",
        }
        counts = {text: getattr(self, name) for name, text in words.items()}
        return ", ".join(f"{count} {text}" for text, count in counts.items() if count)


@dataclass
class Annotation:
    """What the annotation of one image says.

    Attributes:
        rows: The boxes, in the order of the file.
        in_shares: Whether `Row.values` are shares.
        declared: (height, width) that it gives the image, where it gives any.
        lost: Boxes that could not be read.
    """

    rows: list[Row] = field(default_factory=list)
    in_shares: bool = False
    declared: tuple[int, int] | None = None
    lost: int = 0

    @property
    def total(self) -> int:
        """The boxes that the annotation has, those that could not be read too."""
        return len(self.rows) + self.lost

    def pixels(self, height: int, width: int) -> np.ndarray:
        """Give the boxes as they stand in the file, (N, 4) float64 xyxy in pixels, which may lie outside the image."""
        values = self._values()
        if not self.in_shares:
            return values
        centre, side = values[:, :2], values[:, 2:]
        return np.hstack([centre - side / 2, centre + side / 2]) * ([width, height] * 2)

    def clean(self, image: str, height: int, width: int) -> tuple[LabelledImage, Cleaning]:
        """Cut boxes at the image's edge; drop those without area and those that stand there twice.

        Args:
            image: The image file.
            height: In pixels, after the EXIF rotation.
            width: In pixels, after the EXIF rotation.

        Returns:
            What is left, in the same order, float64, and what was changed. A box within the image keeps the shares of
            the file to the last digit.
        """
        if not self.rows:
            none = np.zeros((0, 4))
            return LabelledImage(image, height, width, np.zeros(0, np.int64), none, none), Cleaning()
        classes = np.array([row.cls for row in self.rows], dtype=np.int64)
        ignored = np.array([row.ignored for row in self.rows], dtype=bool)
        corners = self.pixels(height, width)
        inside = np.clip(corners, 0, np.array([width, height] * 2, dtype=np.float64))
        shares = box_shares(inside, height, width)
        if self.in_shares:
            shares = np.where((inside == corners).all(axis=1, keepdims=True), self._values(), shares)

        has_area = (inside[:, 2:] - inside[:, :2] >= SMALLEST_SIDE_PIXELS).all(axis=1)
        passed = (np.abs(inside - corners) > EDGE_PIXELS).any(axis=1)
        table = np.column_stack([classes, shares, ignored])[has_area]
        first = np.sort(np.unique(table, axis=0, return_index=True)[1])
        cleaning = Cleaning(
            duplicates=len(table) - len(first),
            no_area=int((~has_area).sum()),
            clipped=int((passed & has_area).sum()),
            polygons=sum(row.polygon for row in self.rows),
            emptied=int(not has_area.any()),
        )
        kept = np.flatnonzero(has_area)[first]
        return LabelledImage(image, height, width, classes[kept], inside[kept], shares[kept], ignored[kept]), cleaning

    def _values(self) -> np.ndarray:
        return np.array([row.values for row in self.rows], dtype=np.float64).reshape(-1, 4)
