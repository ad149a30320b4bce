"""What INT8 is made with: the user's own training images, for ranges, and for the layers that are better left float."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.data.images.read import naming_unreadable
from moat_det.evaluation import LEAST_SCORE
from moat_det.export.accuracy import average_precision
from moat_det.progress import progress
from moat_det.runtime import RuntimeDetector
from moat_det.runtime.backends import Backend
from moat_det.runtime.metadata import Metadata


@dataclass(frozen=True)
class Calibration:
    """What ranges are measured on.

    Attributes:
        images: Anything that `input` takes.
        input: Gives the model's input (1, C, H, W) uint8 of one.
        ap: Gives AP, in [0, 1], of what a model finds in the images, so that the layers which cost much of it are left
            float, which takes many passes; None looks for none.
    """

    images: Sequence[Any]
    input: Callable[[Any], np.ndarray]
    ap: Callable[[Backend], float] | None = None


def calibrate_on(images: Sequence[LabelledImage], facts: Metadata, control: bool) -> Calibration:
    """Take labelled images of the training.

    Args:
        images: Of the training.
        facts: Of the file: how images are read, scaled and padded.
        control: Whether to look for layers that are better left float.
    """

    def detector(backend: Backend) -> RuntimeDetector:
        return RuntimeDetector(backend, facts, facts.sizes(), digest="")

    reader = detector(_no_backend)

    def as_input(image: LabelledImage) -> np.ndarray:
        return reader.prepare(_read(reader, image))[None]

    def ap(model: Backend) -> float:
        runs, found = detector(model), []
        for image in progress(images, "measuring AP", unit="image", leave=False):
            picture = _read(runs, image)
            found.append(runs.decode(runs.predict([picture])[0], picture.shape[:2], conf=LEAST_SCORE))
        return average_precision(images, dict(enumerate(facts.names)), found)

    return Calibration(images, as_input, ap if control else None)


def _read(detector: RuntimeDetector, image: LabelledImage) -> np.ndarray:
    with naming_unreadable(image.path):
        return detector.read(Path(image.path))


def _no_backend(images: np.ndarray) -> np.ndarray:
    raise NotImplementedError
