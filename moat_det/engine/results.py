"""`Results` as the engine has them, whose crops stay in the folder that they are written to."""

from __future__ import annotations

from copy import copy
from pathlib import Path

import numpy as np
from ultralytics.engine import results

from moat_det.detection.detections import Detections
from moat_det.engine.heatmaps import Heatmap
from moat_det.files import distinct_names


class Results(results.Results):
    """The detections in one image.

    Attributes:
        frame: Which frame of its video or camera it is, from 1; of a picture, the how many-th that is called so. Where
            defects are followed, as in their tracks.
        part: The part that the image is of; None without an operating point.
        verdict: What becomes of it: "pass", "review" or "reject"; None without an operating point.
        heatmap: How unlike good parts it is, and where; None without `heatmap`.
    """

    frame: int = 1
    part: str | None = None
    verdict: str | None = None
    heatmap: Heatmap | None = None

    def new(self) -> Results:
        """Give one of the same image without detections."""
        new = Results(orig_img=self.orig_img, path=self.path, names=self.names, speed=self.speed)
        new.save_dir = self.save_dir
        new.frame, new.part, new.verdict, new.heatmap = self.frame, self.part, self.verdict, self.heatmap
        return new

    def detections(self) -> Detections:
        """Give what was found, as what writes it takes it."""
        rows = np.empty((0, 6), np.float32) if self.boxes is None else self.boxes.cpu().numpy().data
        return Detections.of(rows[:, [0, 1, 2, 3, -2, -1]], self.names)

    def class_folders(self) -> dict[int, str]:
        """Give the name of each class's folder: that of the class, as far as a folder can be called so."""
        return dict(zip(self.names, distinct_names([str(name) for name in self.names.values()]), strict=True))

    def save_crop(self, save_dir: str | Path, file_name: str | Path = Path("im.jpg")) -> None:
        """Write what is in each box to a file of its own below `save_dir`, in a folder per class.

        Args:
            save_dir: The folder.
            file_name: Of the crops, which are numbered.
        """
        named = copy(self)
        named.names = self.class_folders()
        results.Results.save_crop(named, save_dir, file_name)
