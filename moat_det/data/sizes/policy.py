"""The one place that says how large an image is in the model: in training, validation, detection and its memory check.

`size_policy` turns what the user says into one of three: every image in one shape, each in a rectangle of its own, each
at its own size. What becomes of an image follows from its own size alone, never from the images beside it; the
rectangles of training are the one exception, where batches are to be of one size.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from moat_det.data.sizes.letterbox import Placement, letterbox
from moat_det.data.sizes.shape import NATIVE, Shape, fit_within, multiple_of, round_up


class Batch(NamedTuple):
    """Images that go through the model together.

    Attributes:
        images: Their positions in the split.
        shape: Height and width of each after scaling and padding, in pixels.
    """

    images: Sequence[int]
    shape: Shape


class SizePolicy(ABC):
    """How images are scaled and padded.

    Attributes:
        centred: Whether an image lies in the middle of its padding; else the padding is below and to the right of it,
            so that no pixel moves.
    """

    centred: ClassVar[bool] = True

    @abstractmethod
    def scaled(self, height: int, width: int) -> Shape:
        """Give the height and width of an image after scaling, from those in its file."""

    @abstractmethod
    def padded(self, height: int, width: int) -> Shape:
        """Give the height and width of an image after scaling and padding, from those in its file."""

    @abstractmethod
    def smaller(self, height: int, width: int, share: float) -> str | None:
        """Give the option that a user gives for an input of a share of that many pixels; None if no stride is left."""

    def batches(self, sizes: Sequence[Shape], batch: int) -> list[Batch]:
        """Divide a split into batches of one padded shape.

        The largest shape comes first, so that what the memory cannot hold fails at once; images of one shape stay in
        their order.

        Args:
            sizes: Height and width of each image, in its file.
            batch: Most images in one.
        """
        groups: dict[Shape, list[int]] = {}
        for index, size in enumerate(sizes):
            groups.setdefault(self.padded(*size), []).append(index)
        ordered = sorted(groups.items(), key=lambda item: (math.prod(item[0]), item[0]), reverse=True)
        return [Batch(part, shape) for shape, members in ordered for part in _parts(members, batch)]

    def fit(self, image: np.ndarray) -> tuple[np.ndarray, Placement]:
        """Scale and pad an image (H, W, C), and say where it lies in the result, for the boxes that are found there."""
        height, width = image.shape[:2]
        fitted = letterbox(image, self.scaled(height, width), self.padded(height, width), self.centred)
        return fitted, self.placement(height, width)

    def placement(self, height: int, width: int) -> Placement:
        """Say where `fit` puts an image of that size."""
        size = (height, width)
        return Placement.of(size, self.scaled(*size), self.padded(*size), self.centred)


@dataclass(frozen=True)
class FixedSize(SizePolicy):
    """Every image is scaled to fit into one shape and padded to it.

    Attributes:
        shape: Height and width in pixels, multiples of the model's stride.
        stride: The model's largest.
    """

    shape: Shape
    stride: int = 32

    def scaled(self, height: int, width: int) -> Shape:
        """Give the height and width of an image after scaling."""
        return fit_within(height, width, self.shape)

    def padded(self, height: int, width: int) -> Shape:
        """Give the one shape."""
        return self.shape

    def smaller(self, height: int, width: int, share: float) -> str | None:
        """Give `--imgsz` with two numbers; a square has one."""
        if height == width:
            return _longer_side(height, width, share, self.stride)
        sides = [side * math.sqrt(share) for side in (height, width)]
        rows, columns = round_up(sides, self.stride)
        return None if max(sides) < self.stride else f"--imgsz {rows} {columns}"


@dataclass(frozen=True)
class Rectangles(SizePolicy):
    """Every image is scaled to the longer side, and its shorter one is padded to the stride.

    There are at most 2 * `longer_side` / `stride` - 1 shapes.

    Attributes:
        longer_side: Of an image after scaling, in pixels; a multiple of the stride.
        stride: The model's largest, of which the sides of a rectangle are multiples.
    """

    longer_side: int
    stride: int = 32

    def scaled(self, height: int, width: int) -> Shape:
        """Give the height and width of an image after scaling."""
        return fit_within(height, width, (self.longer_side, self.longer_side))

    def padded(self, height: int, width: int) -> Shape:
        """Give the smallest rectangle around the scaled image."""
        return round_up(self.scaled(height, width), self.stride)

    def smaller(self, height: int, width: int, share: float) -> str | None:
        """Give `--imgsz` with one number."""
        return _longer_side(height, width, share, self.stride)


@dataclass(frozen=True)
class TrainingRectangles(Rectangles):
    """Rectangles whose batches, but for the last, are of one size, as training wants them.

    So a batch may hold images of several shapes, each padded to one around them all.
    """

    def batches(self, sizes: Sequence[Shape], batch: int) -> list[Batch]:
        """Take the images in the order of their aspect, so that those of a batch are alike."""
        height, width = np.array(sizes).reshape(-1, 2).T
        parts = _parts((height / width).argsort(kind="stable").tolist(), batch)
        return [Batch(part, self._around([sizes[i] for i in part])) for part in parts]

    def _around(self, sizes: Sequence[Shape]) -> Shape:
        rows, columns = zip(*(self.padded(*size) for size in sizes), strict=True)
        return max(rows), max(columns)


@dataclass(frozen=True)
class NativeSize(SizePolicy):
    """Every image keeps its own size, unless it has too many pixels, and is padded to the stride.

    Attributes:
        stride: The model's largest, of which both sides are multiples after padding.
        max_pixels: Images of more pixels are scaled down to as many; None scales none.
    """

    stride: int = 32
    max_pixels: int | None = None
    centred: ClassVar[bool] = False

    def scaled(self, height: int, width: int) -> Shape:
        """Give the image's own height and width, or those that `max_pixels` allows."""
        if self.max_pixels is None or height * width <= self.max_pixels:
            return height, width
        ratio = math.sqrt(self.max_pixels / (height * width))
        return max(int(height * ratio), 1), max(int(width * ratio), 1)

    def padded(self, height: int, width: int) -> Shape:
        """Give the smallest multiples of the stride around the scaled image."""
        return round_up(self.scaled(height, width), self.stride)

    def smaller(self, height: int, width: int, share: float) -> str | None:
        """Give `--max-pixels`, rounded down to two digits."""
        rows, columns = (round(side * math.sqrt(share)) for side in (height, width))
        if rows * columns < self.stride**2:
            return None
        unit = 10 ** max(int(math.log10(rows * columns)) - 1, 0)
        return f"--max-pixels {rows * columns // unit * unit} (about {columns} x {rows})"


def size_policy(
    imgsz: int | Shape | str, stride: int, *, rect: bool = False, training: bool = False, max_pixels: int | None = None
) -> SizePolicy:
    """Turn what the user says of the images' size into a policy.

    Args:
        imgsz: The longer side; height and width; or "native". ("auto" is height and width by now, see `imgsz.py`.)
        stride: The model's largest; sides are rounded up to multiples of it.
        rect: Give each image a rectangle, where `imgsz` is one number, instead of the square.
        training: Let rectangles be those of training.
        max_pixels: See `NativeSize`.
    """
    if imgsz == NATIVE:
        return NativeSize(stride, max_pixels)
    if not isinstance(imgsz, int):
        return FixedSize(multiple_of((int(imgsz[0]), int(imgsz[1])), stride), stride)
    side = round_up((imgsz, imgsz), stride)
    if not rect:
        return FixedSize(side, stride)
    return TrainingRectangles(side[0], stride) if training else Rectangles(side[0], stride)


def _parts(images: Sequence[int], batch: int) -> list[Sequence[int]]:
    return [images[i : i + batch] for i in range(0, len(images), batch)]


def _longer_side(height: int, width: int, share: float, stride: int) -> str | None:
    longest = round(max(height, width) * math.sqrt(share)) // stride * stride
    return f"--imgsz {longest}" if longest else None
