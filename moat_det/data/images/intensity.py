"""How samples of more than 8 bits become the model's input of 8 bits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from moat_det.errors import UserError
from moat_det.messages import as_given, as_number
from moat_det.values import is_number

# Of a sensor some pixels are dead or hot; a defect may well be the brightest in a thousand.
PERCENTILES = (0.01, 99.99)
_WORDS = ("auto", "image", "full")
_PIXELS_PER_IMAGE = 1_000_000

Window = tuple[float, float]


@dataclass(frozen=True)
class Intensity:
    """A mapping of samples to uint8: linear between two values, cut off outside. 8-bit samples stay as they are.

    256 levels are what the engine's augmentations and caches, and the model, take; a window of up to 256 values loses
    none of them.

    Attributes:
        kind: "window", the user's; "auto", the range of a training split, in `windows` once it is known; "image", the
            range of each image; "full", the range of the sample type. "auto" without windows, of a split that had no
            more than 8 bits, works as "image" where nothing was trained, and is `settled` where a model is used.
        windows: What becomes 0 and 255: one pair, or one for each band.
        floating: Whether the windows of "auto" are those of floating samples, which are no measure for integers, or the
            reverse; None where that is not known.
    """

    kind: str = "auto"
    windows: tuple[Window, ...] = ()
    floating: bool | None = None

    @classmethod
    def parse(cls, value: Any, source: str | Path) -> Intensity:
        """Read what a dataset YAML says.

        Args:
            value: None (as "auto"), "auto", "image", "full", [lowest, highest], or a list of a pair for each band.
            source: The file, for the error.

        Raises:
            UserError: It is none of these.
        """
        if value is None or value in _WORDS:
            return cls(value or "auto")
        pairs = value if isinstance(value, list) and value and isinstance(value[0], list) else [value]
        if not all(_is_window(pair) for pair in pairs):
            raise UserError(
                f"{source}: 'intensity: {as_given(value)}' is none of {', '.join(_WORDS)} and [lowest, highest]; "
                "write 'intensity: [0, 4095]', for example"
            )
        return cls("window", tuple((float(lo), float(hi)) for lo, hi in pairs))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Intensity:
        """Read back what `to_dict` gave."""
        return cls(content["kind"], tuple((lo, hi) for lo, hi in content["windows"]), content.get("floating"))

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for a checkpoint."""
        known = {} if self.floating is None else {"floating": self.floating}
        return {"kind": self.kind, "windows": [list(window) for window in self.windows], **known}

    @property
    def settled(self) -> Intensity:
        """What maps the images that a model is used on: "auto" that saw 8 bits alone maps others by their full range.

        The same part then gives the same input in either depth.
        """
        return Intensity("full") if self.kind == "auto" and not self.windows else self

    def __str__(self) -> str:
        """As a dataset YAML says it; the windows of "auto" stand behind it."""
        windows = ", ".join(f"[{as_number(lo)}, {as_number(hi)}]" for lo, hi in self.windows)
        return windows if self.kind == "window" else f"{self.kind} {windows}".strip()

    def to_uint8(self, image: np.ndarray) -> np.ndarray:
        """Map an image (H, W, C) of any sample type; NaN becomes 0, infinities 0 and 255.

        Raises:
            UserError: "full" for floating samples, which have no range; windows that are those of floating samples for
                integers, or the reverse; or windows for another number of bands.
        """
        if image.dtype == np.uint8:
            return image
        windows = self.windows_of(image)
        if len(windows) == 1:
            return _map(image, windows[0])
        if len(windows) != image.shape[2]:
            raise UserError(f"intensity: {self} for images of {image.shape[2]} bands; give one pair, or one for each")
        return np.dstack([_map(image[..., band], window) for band, window in enumerate(windows)])

    def windows_of(self, image: np.ndarray) -> tuple[Window, ...]:
        """Give what becomes 0 and 255 in an image (H, W, C) of more than 8 bits; raises `UserError` as `to_uint8`."""
        floating = image.dtype.kind == "f"
        if self.windows:
            if self.floating not in {None, floating}:
                has, had = ("floating samples", "integers") if floating else ("integers", "floating samples")
                raise UserError(
                    f"it has {has}, where the training images had {had} and the range {self}; bring all images to one "
                    "form, or train with 'intensity: image'"
                )
            return self.windows
        if self.kind == "full":
            if floating:
                raise UserError(
                    "intensity: full has no meaning for floating samples; train with auto, image or [lo, hi], or bring "
                    "them to 8 or 16 bits"
                )
            limits = np.iinfo(image.dtype)
            return ((limits.min, limits.max),)
        pixels = image.reshape(-1, image.shape[2])
        return ranges(pixels[:: math.ceil(len(pixels) / _PIXELS_PER_IMAGE)], pixels)


def ranges(pixels: np.ndarray, whole: np.ndarray) -> tuple[Window, ...]:
    """Give the values between which all but a few samples lie; (0, 0) where none is finite.

    Where that is a single value, as of defects on a background without noise, it is all samples between which they lie.

    Args:
        pixels: (N, C), which count.
        whole: (M, C), of which they are a part; at least its lowest and its highest samples.

    Returns:
        One pair for gray and colour, which would lose its balance otherwise; one for each band of any other number.
    """
    if pixels.shape[1] in {1, 3}:
        return (_range(pixels, whole),)
    return tuple(_range(band, all_of_it) for band, all_of_it in zip(pixels.T, whole.T, strict=True))


def _range(values: np.ndarray, whole: np.ndarray) -> Window:
    values = _finite(values)
    if not values.size:
        return 0.0, 0.0
    # Nothing is interpolated: the ends are values that occur.
    lo = np.percentile(values, PERCENTILES[0], method="lower")
    hi = np.percentile(values, PERCENTILES[1], method="higher")
    if lo == hi:
        whole = _finite(whole)
        lo, hi = whole.min(), whole.max()
    return float(lo), float(hi)


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)] if values.dtype.kind == "f" else values


def _is_window(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(map(is_number, pair)) and pair[0] < pair[1]


def _map(samples: np.ndarray, window: Window) -> np.ndarray:
    return _table(*window)[samples] if samples.dtype == np.uint16 else _scale(samples, *window)


@lru_cache(maxsize=32)
def _table(lo: float, hi: float) -> np.ndarray:
    return _scale(np.arange(65536), lo, hi)


def _scale(samples: np.ndarray, lo: float, hi: float) -> np.ndarray:
    if hi <= lo:  # of a constant image
        return np.zeros(samples.shape, np.uint8)
    numbers = samples.astype(np.result_type(samples, np.float32))  # in place from here on: images may be large
    np.nan_to_num(numbers, copy=False, nan=lo, posinf=hi, neginf=lo)
    np.clip(numbers, lo, hi, out=numbers)
    numbers -= lo
    numbers /= hi - lo
    numbers *= 255
    return np.rint(numbers, out=numbers).astype(np.uint8)
