"""What is found in an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Detections:
    """The detections in one image, by falling score.

    Attributes:
        xyxy: (N, 4) float32 corners in pixels of the image.
        score: (N,) float32 in [0, 1].
        cls: (N,) int64 class indices.
        names: Class index -> name.
    """

    xyxy: np.ndarray
    score: np.ndarray
    cls: np.ndarray
    names: dict[int, str]

    def __len__(self) -> int:
        """Count them."""
        return len(self.score)
