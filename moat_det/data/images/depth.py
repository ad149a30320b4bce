"""Images of more bits than a model was trained on."""

from __future__ import annotations

import logging

import numpy as np

from moat_det.data.images.intensity import Intensity

logger = logging.getLogger(__name__)


def intensity_of_run(trained: Intensity) -> Intensity:
    """Give what maps the images of a run; of a depth that the training did not have it says once how."""
    return trained if trained.settled == trained else _FullRange()


class _FullRange(Intensity):
    """The full range of the sample type."""

    def __init__(self) -> None:
        super().__init__("full")
        object.__setattr__(self, "_said", set())  # the dataclass is frozen

    def to_uint8(self, image: np.ndarray) -> np.ndarray:
        """Map an image, as any intensity does."""
        mapped = super().to_uint8(image)
        said: set[str] = self.__dict__["_said"]
        if image.dtype != np.uint8 and image.dtype.name not in said:
            said.add(image.dtype.name)
            ((lo, hi),) = self.windows_of(image)
            logger.warning(
                f"the model was trained on 8 bits, and there are images of {image.dtype.name}: their full range, "
                f"{lo:g} to {hi:g}, becomes 0 to 255"
            )
        return mapped
