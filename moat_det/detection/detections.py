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

    @classmethod
    def of(cls, rows: np.ndarray, names: dict[int, str]) -> Detections:
        """Take them from rows (N, 6): x1, y1, x2, y2, score, class."""
        return cls(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64), names)

    def __len__(self) -> int:
        """Count them."""
        return len(self.score)

    @property
    def classes(self) -> list[str]:
        """The name of each one's class."""
        return [self.names[int(label)] for label in self.cls]
