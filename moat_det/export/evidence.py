"""The images that a file is made with and compared on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from moat_det.data.formats.labelled_image import LabelledImage


@dataclass(frozen=True)
class Evidence:
    """Images of a dataset.

    Attributes:
        images: That the file is compared on.
        judged: Whether their labels are of the model's classes, and some there, so that AP can be compared.
        training: That INT8 measures ranges on, with their labels; empty where there is no INT8.
    """

    images: Sequence[LabelledImage]
    judged: bool
    training: Sequence[LabelledImage] = ()

    @property
    def paths(self) -> list[Path]:
        """Give the files that are compared on."""
        return [Path(image.path) for image in self.images]
