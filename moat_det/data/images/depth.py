"""Images of another depth than a model was trained on."""

from __future__ import annotations

import logging

import numpy as np

from moat_det.data.images.intensity import Intensity
from moat_det.messages import as_number

logger = logging.getLogger(__name__)


def intensity_of_run(trained: Intensity) -> Intensity:
    """Give what maps the images of a run; of a depth that the training did not have it says once how."""
    return _OfAuto(trained) if trained.kind == "auto" else trained  # the others do not tell what the training had


class _OfAuto(Intensity):
    """What "auto" of a training is in a run: it has windows where the training had more than 8 bits."""

    def __init__(self, trained: Intensity) -> None:
        settled = trained.settled
        super().__init__(settled.kind, settled.windows, settled.floating)
        object.__setattr__(self, "_said", set())  # the dataclass is frozen

    def to_uint8(self, image: np.ndarray) -> np.ndarray:
        """Map an image, as any intensity does."""
        mapped = super().to_uint8(image)
        said: set[str] = self.__dict__["_said"]
        deep = image.dtype != np.uint8
        if deep != bool(self.windows) and image.dtype.name not in said:
            said.add(image.dtype.name)
            logger.warning(self._full_range(image) if deep else self._as_they_are())
        return mapped

    def _full_range(self, image: np.ndarray) -> str:
        ((lo, hi),) = self.windows_of(image)
        return (
            f"the model was trained on 8 bits, and there are images of {image.dtype.name}: their full range, "
            f"{as_number(lo)} to {as_number(hi)}, becomes 0 to 255"
        )

    def _as_they_are(self) -> str:
        return (
            f"there are images of 8 bits, which stay as they are; the training had images of more, whose range is "
            f"{self}: where it had none of 8 bits, give it none"
        )
