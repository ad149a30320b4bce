"""The images of a dataset as its annotations have them, before anything is cleaned."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from moat_det.checks.decode import ImageFacts
from moat_det.data.formats.boxes import Labels, clean_boxes


@dataclass(frozen=True, slots=True)
class Row:
    """One box as the annotation file has it.

    Attributes:
        cls: The class id, within the dataset's names.
        values: x1, y1, x2, y2 in pixels; or centre x, centre y, width, height as shares of the sides.
        where: The place in the file, such as "line 3".
        ignored: Whether it is a crowd region.
    """

    cls: int
    values: tuple[float, ...]
    where: str
    ignored: bool = False


@dataclass
class Sample:
    """One image of a split.

    Attributes:
        split: The split.
        image: The absolute path.
        labels: Its annotation file; None where it has none.
        rows: The boxes that could be read.
        in_shares: Whether `Row.values` are shares.
        declared: (height, width) that the annotation gives the image.
        lost: Boxes that could not be read.
        facts: What is known of the image, once it has been decoded.
    """

    split: str
    image: str
    labels: str | None
    rows: list[Row] = field(default_factory=list)
    in_shares: bool = False
    declared: tuple[int, int] | None = None
    lost: int = 0
    facts: ImageFacts | None = None

    @property
    def readable(self) -> ImageFacts | None:
        """What is known of the image, if it could be decoded."""
        return self.facts if self.facts is not None and not self.facts.error else None

    def pixels(self, facts: ImageFacts) -> np.ndarray:
        """The boxes as they stand in the file, (N, 4) xyxy in pixels, which may lie outside."""
        values = np.array([row.values for row in self.rows], dtype=np.float64).reshape(-1, 4)
        if not self.in_shares:
            return values
        corners = np.hstack([values[:, :2] - values[:, 2:] / 2, values[:, :2] + values[:, 2:] / 2])
        return corners * ([facts.width, facts.height] * 2)

    def cleaned(self, facts: ImageFacts) -> Labels:
        """The boxes as training takes them."""
        shares = np.array([row.values for row in self.rows]).reshape(-1, 4) if self.in_shares else None
        return clean_boxes(
            np.array([row.cls for row in self.rows], dtype=np.int64),
            self.pixels(facts),
            (facts.height, facts.width),
            shares=shares,
            ignored=np.array([row.ignored for row in self.rows], dtype=bool),
        )
