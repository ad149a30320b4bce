"""The images of a dataset as its annotations have them, before anything is cleaned."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from moat_det.checks.decode import ImageFacts
from moat_det.data.formats.annotation import Annotation
from moat_det.data.formats.labelled_image import LabelledImage


@dataclass
class Sample:
    """One image of a split.

    Attributes:
        split: The split.
        image: The absolute path.
        labels: Its annotation file; None where it has none.
        annotation: What that says.
        facts: What is known of the image, once it has been decoded.
    """

    split: str
    image: str
    labels: str | None
    annotation: Annotation = field(default_factory=Annotation)
    facts: ImageFacts | None = None

    @property
    def readable(self) -> ImageFacts | None:
        """What is known of the image, if it could be decoded."""
        return self.facts if self.facts is not None and not self.facts.error else None

    @property
    def boxes(self) -> np.ndarray:
        """The boxes as they stand in the file, (N, 4) xyxy in pixels; none where the image could not be decoded."""
        facts = self.readable
        return np.zeros((0, 4)) if facts is None else self.annotation.pixels(facts.height, facts.width)

    @property
    def labelled(self) -> LabelledImage | None:
        """The image with its boxes as training takes them, if it could be decoded."""
        facts = self.readable
        return None if facts is None else self.annotation.clean(self.image, facts.height, facts.width)[0]
