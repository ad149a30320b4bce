"""What a model was trained on, as far as its use depends on it."""

from __future__ import annotations

from dataclasses import dataclass, field

from moat_det.data.images.intensity import Intensity
from moat_det.data.sizes.shape import Shape


@dataclass(frozen=True)
class Trained:
    """The images of a model's training, which go with it from a checkpoint to validation and detection.

    Attributes:
        size: Height and width in pixels; None for a model that was not trained.
        intensity: How more than 8 bits became 8.
        chosen_on: Digest of the images by which the weights were chosen among those of the epochs, as
            `SplitIndex.images_digest` gives it; "" where none chose; None where that is not known.
    """

    size: Shape | None = None
    intensity: Intensity = field(default_factory=Intensity)
    chosen_on: str | None = None
