"""A dataset that a trained model is measured on: classes, bands and intensities are the model's."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from moat_det.data.config import DatasetConfig, check_channels, load_dataset
from moat_det.data.images.choose_intensity import check_intensity
from moat_det.data.images.intensity import Intensity
from moat_det.errors import UserError
from moat_det.messages import as_given, some

logger = logging.getLogger(__name__)

_SHOWN_NAMES = 10


def load_for_model(
    source: str | Path,
    split: str,
    *,
    names: Sequence[str] | None,
    channels: int,
    intensity: Intensity,
    given: str | Path | None = None,
) -> DatasetConfig:
    """Read a dataset's YAML, and check that a model is for it.

    Args:
        source: The YAML.
        split: That is measured.
        names: The model's classes in their order; None where classes do not matter.
        channels: Bands that the model takes.
        intensity: That of its training, by which images are read, whatever the YAML says now.
        given: The YAML as the user wrote it, for messages.

    Raises:
        UserError: The YAML is not in order, or its classes or channels are not the model's.
    """
    given = source if given is None else given
    data = load_dataset(source, split=split)
    known, wanted = list(names or ()), list(data["names"].values())
    if names is not None and known != wanted:
        pairs = enumerate(zip_longest(known, wanted))
        first = next(number for number, (name, other) in pairs if name != other)
        raise UserError(
            f"{other_classes(known, wanted, given)}; the first that differs is number {first}: "
            "validate with the data's own weights, or bring 'names' into the weights' order"
        )
    check_channels(channels, data)
    if data["intensity"].kind not in {"auto", intensity.kind}:
        logger.warning(
            f"{given}: 'intensity: {data['intensity']}' is not used, the weights were trained with {intensity}"
        )
    data["intensity"] = intensity
    return data


def other_classes(known: Sequence[str], wanted: Sequence[str], given: str | Path) -> str:
    """Say which classes a model knows, and which other ones the dataset `given` has."""
    return (
        f"the weights know the classes {some(known, _SHOWN_NAMES)}; {as_given(given)} has {some(wanted, _SHOWN_NAMES)}"
    )


def settle_intensity(
    intensity: Intensity, files: Sequence[str], deep: int, channels: int = 3, prefix: str = ""
) -> Intensity:
    """Take the full range of the sample type where the training saw 8 bits alone; say so, and where it saw more.

    Args:
        intensity: That of the training.
        files: The images.
        deep: How many of them have more than 8 bits.
        channels: Bands that the model takes.
        prefix: Put before each message.

    Raises:
        UserError: The samples have no full range.
    """
    settled = intensity.settled
    check_intensity(settled, files, deep, channels)
    if settled != intensity and deep:
        logger.warning(
            f"{prefix}{deep} images have more than 8 bits per sample, those of the training "
            "had 8: the full range of the sample type becomes 0 to 255"
        )
    if settled.kind == "auto" and deep < len(files):  # whose windows are of more than 8 bits
        logger.warning(
            f"{prefix}{len(files) - deep} images have 8 bits per sample and stay as they are; the training had images "
            f"of more, whose range is {settled}: where it had none of 8 bits, measure on none"
        )
    return settled
