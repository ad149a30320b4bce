"""The intensities of a training split: the range that becomes the model's input, and what the user's own loses."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from moat_det.data.images.header import large_images, read_header
from moat_det.data.images.intensity import Intensity, ranges
from moat_det.data.images.read import read_image, read_input
from moat_det.errors import UserError
from moat_det.messages import as_number
from moat_det.progress import progress

logger = logging.getLogger(__name__)

SAMPLED_IMAGES = 100
SAMPLED_PIXELS = 40_000
_TRIED_IMAGES = 20
# The user's window is worth a warning where it leaves fewer levels, or cuts off more pixels.
_FEW_LEVELS = 128
_LARGE_SHARE = 0.01


def choose_intensity(given: Intensity, files: Sequence[Path], channels: int = 3, prefix: str = "") -> Intensity:
    """Give "auto" its windows, from pixels of the training split, and warn where they or another choice lose much.

    Of up to `SAMPLED_IMAGES` images up to `SAMPLED_PIXELS` pixels count, the same ones each time.

    Args:
        given: What the dataset YAML says.
        files: The images of the split; those of 8 bits say nothing.
        channels: Bands of the model's input.
        prefix: Put before each message.

    Returns:
        What to train with and to keep with the model.

    Raises:
        UserError: For "auto" integer and floating samples stand side by side, which have no range in common.
    """
    if given.kind == "image" or (given.kind == "auto" and given.windows):
        return given
    parts = list(_sample(files, channels, prefix))
    if not parts:
        return given
    floating = {part.dtype.kind == "f" for part, _ in parts}
    if len(floating) > 1 and given.kind == "auto":
        raise UserError(
            "some images have floating samples and others integers of more than 8 bits: write 'intensity: image' "
            "into the dataset YAML, or bring the files to one form"
        )
    pixels, ends = (_join(tables) for tables in zip(*parts, strict=True))
    if given.kind == "auto":
        chosen = Intensity("auto", ranges(pixels, ends), *floating)
        logger.info(f"{prefix}intensity: {chosen}, the range of the training images, becomes 0 to 255")
        _warn_of_far_samples(chosen, ends, prefix)
        return chosen
    _warn_of_loss(given, pixels, prefix)
    return given


def check_intensity(intensity: Intensity, files: Sequence[str], deep: int, channels: int = 3) -> None:
    """Make sure, before work begins, that the first images of more than 8 bits can be mapped.

    Args:
        intensity: What they are to be mapped by.
        files: The images, in the order in which they are looked at.
        deep: How many of them have more than 8 bits.
        channels: Bands of the model's input.

    Raises:
        UserError: One cannot, such as floating samples by "full"; the message names it.
    """
    left = min(deep, _TRIED_IMAGES)
    with large_images():
        for file in files if left else ():
            try:
                if read_header(file).deep:
                    read_input(file, intensity, channels)
                    left -= 1
            except OSError:
                continue  # the scan has said so
            if not left:
                return


def _sample(files: Sequence[Path], channels: int, prefix: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Give pixels (N, C) of images of more than 8 bits, and the lowest and highest samples (2, C) of each image."""
    random = np.random.default_rng(0)
    found = 0
    wanted = min(len(files), SAMPLED_IMAGES)
    with large_images(), progress(total=wanted, text=f"{prefix}Intensities") as bar:
        for index in random.permutation(len(files)):
            try:
                if not read_header(files[index]).deep:
                    continue
                image = read_image(files[index], channels)
            except OSError:
                continue  # the scan has said so
            pixels = image.reshape(-1, image.shape[2])
            few = len(pixels) <= SAMPLED_PIXELS
            yield pixels if few else pixels[random.integers(0, len(pixels), SAMPLED_PIXELS)], _ends(pixels)
            bar.update()
            found += 1
            if found == wanted:
                break


def _ends(pixels: np.ndarray) -> np.ndarray:
    """Give the lowest and the highest samples (2, C) of pixels (N, C); NaN where none is finite."""
    if pixels.dtype.kind == "f":
        pixels = np.where(np.isfinite(pixels), pixels, np.nan)
    return np.stack([np.fmin.reduce(pixels), np.fmax.reduce(pixels)])


def _join(tables: Sequence[np.ndarray]) -> np.ndarray:
    """Put tables (N, C) under one another; gray images among colour ones count once."""
    width = max(table.shape[1] for table in tables)
    return np.concatenate([np.broadcast_to(table, (len(table), width)) for table in tables])


def _warn_of_far_samples(chosen: Intensity, ends: np.ndarray, prefix: str) -> None:
    """Tell of samples further outside of a window than it is wide: too few to count, they may be the defects."""
    low, high = np.array(chosen.windows).T
    lowest, highest = np.fmin.reduce(ends), np.fmax.reduce(ends)
    if (lowest < 2 * low - high).any() or (highest > 2 * high - low).any():
        lo, hi = as_number(np.nanmin(lowest)), as_number(np.nanmax(highest))
        logger.warning(
            f"{prefix}intensity: a few samples of the training images lie far outside of {chosen}: they reach from "
            f"{lo} to {hi}; where those are defects and no dead or hot pixels, write 'intensity: [{lo}, {hi}]' "
            "into the dataset YAML"
        )


def _warn_of_loss(given: Intensity, pixels: np.ndarray, prefix: str) -> None:
    levels, values = len(np.unique(given.to_uint8(pixels[None]))), len(np.unique(pixels))
    low, high = (np.array(ends) for ends in zip(*given.windows_of(pixels[None]), strict=True))
    cut = float(((pixels < low) | (pixels > high)).mean())
    if levels < min(_FEW_LEVELS, values) or cut > _LARGE_SHARE:
        lo, hi = as_number(np.nanmin(pixels)), as_number(np.nanmax(pixels))
        logger.warning(
            f"{prefix}intensity: {given} leaves {levels} gray levels and cuts off {cut:.1%} of the pixels of the "
            f"training images, which have {values} levels from {lo} to {hi}; 'intensity: auto' would keep more"
        )
