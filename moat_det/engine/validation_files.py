"""What a validation draws of its batches, and the text files that `save_txt` asks for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from ultralytics.engine.results import Results
from ultralytics.utils import ops
from ultralytics.utils.metrics import ConfusionMatrix
from ultralytics.utils.plotting import plot_images


def draw_batch(
    batch: dict[str, Any], found: list[Tensor], names: dict[int, str], folder: Path, number: int, most: int
) -> None:
    """Draw the images of a batch twice: with their labels, and with what was found.

    Args:
        batch: As the loader makes it.
        found: (N, 6) for each image: x1, y1, x2, y2 in pixels of the batch, score, class.
        names: Class index -> name.
        folder: Where to write `val_batchN_labels.jpg` and `val_batchN_pred.jpg`.
        number: N.
        most: Boxes to draw of an image.
    """
    files = batch["im_file"]
    plot_images(labels=batch, paths=files, fname=folder / f"val_batch{number}_labels.jpg", names=names)
    boxes = torch.cat([boxes[:most] for boxes in found])
    labels = {
        "batch_idx": torch.cat([torch.full_like(boxes[:most, 4], index) for index, boxes in enumerate(found)]),
        "bboxes": ops.xyxy2xywh(boxes[:, :4]),
        "conf": boxes[:, 4],
        "cls": boxes[:, 5],
    }
    pictures = batch["img"]
    plot_images(labels=labels, images=pictures, paths=files, fname=folder / f"val_batch{number}_pred.jpg", names=names)


def draw_matches(
    batch: dict[str, Any], index: int, found: Tensor, names: dict[int, str], folder: Path, args: Any
) -> None:
    """Draw objects, right, wrong and missed detections of an image side by side, as the engine's `visualize` does."""
    own = batch["batch_idx"] == index
    height, width = batch["img"].shape[2:]
    scale = torch.tensor([width, height, width, height], device=found.device)
    objects = {"cls": batch["cls"][own].squeeze(-1), "bboxes": ops.xywh2xyxy(batch["bboxes"][own]) * scale}
    matrix = ConfusionMatrix(names=names, save_matches=True)
    matrix.process_batch({"bboxes": found[:, :4], "conf": found[:, 4], "cls": found[:, 5]}, objects, conf=args.conf)
    matrix.plot_matches(batch["img"][index], batch["im_file"][index], folder, args.show_labels, args.show_conf)


class LabelFiles:
    """The detections of each image as a text file in YOLO's format, named by its path below the images' folder.

    Args:
        folder: Where to write; text files of an earlier run there are removed.
        images: The image files of the split.
        names: Class index -> name.
        scores: Add the score to each line.
    """

    def __init__(self, folder: Path, images: list[str], names: dict[int, str], scores: bool) -> None:
        self._folder, self._names, self._scores = folder, names, scores
        self._root = os.path.commonpath([os.path.dirname(file) for file in images])
        folder.mkdir(parents=True, exist_ok=True)
        for file in folder.glob("*.txt"):
            file.unlink(missing_ok=True)

    def write(self, image: str, shape: tuple[int, int], found: Tensor) -> None:
        """Write the detections (N, 6) in pixels of an image (height, width); no file where there are none."""
        if len(found):
            name = "_".join(Path(image).relative_to(self._root).with_suffix("").parts)
            picture = np.zeros(shape, dtype=np.uint8)
            result = Results(picture, path=None, names=self._names, boxes=found)
            result.save_txt(self._folder / f"{name}.txt", save_conf=self._scores)
