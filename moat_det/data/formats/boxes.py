"""The boxes of one image, whatever format they come from: cleaned in the same way, and counted."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np

# Labels are written with few decimals: a box that leaves the image by less is clipped without a word.
EDGE_PIXELS = 0.5
# Thinner is no box but the rounding error of one.
SMALLEST_SIDE_PIXELS = 1e-2


@dataclass
class Cleaning:
    """How many boxes were changed, by kind.

    Attributes:
        duplicates: Boxes dropped, as the same class and box stand before them.
        no_area: Boxes dropped, as no area is left of them within the image.
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
    """The boxes of one image, in the order of its annotation.

    Attributes:
        classes: (N,) int64.
        boxes: (N, 4) float64, xyxy in pixels, within the image.
        shares: (N, 4) float64, centre x, centre y, width, height as shares of the image's sides.
        ignored: (N,) bool, True for a region that is no object, such as COCO's crowds.
        cleaning: What was changed on the way.
        declared: (height, width) that the annotation gives the image, where it gives any.
    """

    classes: np.ndarray
    boxes: np.ndarray
    shares: np.ndarray
    ignored: np.ndarray
    cleaning: Cleaning = field(default_factory=Cleaning)
    declared: tuple[int, int] | None = None


def clean_boxes(
    classes: np.ndarray,
    boxes: np.ndarray,
    size: tuple[int, int],
    shares: np.ndarray | None = None,
    ignored: np.ndarray | None = None,
) -> Labels:
    """Cut boxes at the image's edge; drop those without area and those that stand there twice.

    Args:
        classes: (N,), whole numbers.
        boxes: (N, 4), xyxy in pixels, finite.
        size: (height, width) of the image in pixels.
        shares: (N, 4), centre x, centre y, width, height as the file gives them; boxes within the image keep them
            to the last digit. None computes them.
        ignored: (N,) bool; None for objects only.

    Returns:
        What is left, in the same order.
    """
    classes = np.asarray(classes, dtype=np.int64)
    corners = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    if not len(classes):
        return Labels(classes.reshape(0), corners, corners, np.zeros(0, dtype=bool))
    ignored = np.zeros(len(classes), dtype=bool) if ignored is None else ignored
    sides = np.array([size[1], size[0]] * 2, dtype=np.float64)
    inside = np.clip(corners, 0, sides)
    low, high = inside[:, :2], inside[:, 2:]
    inner_shares = np.hstack([(low + high) / 2, high - low]) / sides
    if shares is not None:
        inner_shares = np.where((inside == corners).all(axis=1, keepdims=True), shares, inner_shares)

    has_area = (high - low >= SMALLEST_SIDE_PIXELS).all(axis=1)
    passed = (np.abs(inside - corners) > EDGE_PIXELS).any(axis=1)
    cleaning = Cleaning(no_area=int((~has_area).sum()), clipped=int((passed & has_area).sum()))
    table = np.column_stack([classes, inner_shares, ignored])[has_area]
    first = np.sort(np.unique(table, axis=0, return_index=True)[1])
    cleaning.duplicates = len(table) - len(first)
    kept = np.flatnonzero(has_area)[first]
    return Labels(classes[kept], inside[kept], inner_shares[kept], ignored[kept], cleaning)
