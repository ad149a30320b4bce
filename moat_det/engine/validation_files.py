"""The files that a validation leaves in its folder: figures, detections and pictures."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from ultralytics.utils import ops
from ultralytics.utils.metrics import ConfusionMatrix

from moat_det.data.loader.dataset import DetectionDataset
from moat_det.detection.detections import Detections
from moat_det.detection.label_files import write_labels
from moat_det.detection.output_names import OutputNames, common_folder
from moat_det.engine.batch_plots import plot_batch
from moat_det.engine.inference_options import ValidationOptions
from moat_det.evaluation import CocoEvaluator, CocoMetrics
from moat_det.evaluation.drift import appearance
from moat_det.evaluation.inspection.inspection import Inspection
from moat_det.evaluation.inspection.operating_point import OperatingPoint
from moat_det.evaluation.inspection.settings import Settings
from moat_det.evaluation.validation_files import write_validation
from moat_det.evaluation.validation_folder import BATCHES
from moat_det.files import one_name
from moat_det.run_folder import check_apart


class ValidationFiles:
    """Writes them as the validation goes on, and at its end.

    Detections of an image are (N, 6): x1, y1, x2, y2, score and class.

    Args:
        folder: Of the run.
        args: The engine's arguments: `plots`, `visualize`, `save_txt`, `save_conf`, `conf` and `max_det`.
        dataset: The split's: its image files, and how they are read.
        names: Class index -> name.
        options: Our own: `group` and the target of an operating point.
        settings: What is measured with.

    Attributes:
        appearance: How bright and sharp each image is that was seen.

    Raises:
        UserError: Labels would be written where the images are.
    """

    def __init__(
        self,
        folder: Path,
        args: Any,
        dataset: DetectionDataset,
        names: dict[int, str],
        options: ValidationOptions,
        settings: Settings,
    ) -> None:
        self._folder, self._args, self._names = folder, args, names
        self._options, self._settings, self._dataset = options, settings, dataset
        self._called = OutputNames(common_folder(dataset.im_files))
        if args.save_txt:
            check_apart(folder, dataset.im_files)
            self._called.settle(dataset.im_files)
        self.appearance: dict[str, tuple[float, float]] = {}

    def add(self, number: int, batch: dict[str, Any], found: list[Tensor], scaled: list[Tensor]) -> None:
        """Write what is due of a batch.

        Args:
            number: Of the batch.
            batch: As the loader makes it.
            found: The detections in each image, in pixels of the batch.
            scaled: The same in pixels of the file.
        """
        for index, image in enumerate(batch["im_file"]):
            self.appearance[image] = appearance(_without_padding(index, batch))
            if self._args.plots and self._args.visualize:
                self._draw_matches(index, batch, found[index])
            if self._args.save_txt:
                self._write_text(image, batch["ori_shape"][index], scaled[index])
        if self._args.plots and number < len(BATCHES):
            self._draw(number, batch, found)

    def join(self, appearances: Sequence[Mapping[str, tuple[float, float]]]) -> None:
        """Take over what several processes saw, in the order of the dataset."""
        seen = ChainMap(*map(dict, appearances))
        self.appearance = {image: seen[image] for image in self._dataset.im_files if image in seen}

    def write(
        self, evaluator: CocoEvaluator, metrics: CocoMetrics, speed_ms: Mapping[str, float]
    ) -> tuple[Inspection, OperatingPoint | None]:
        """Write what is due at the end.

        Args:
            evaluator: Has the ground truth and all detections.
            metrics: The figures that it computed.
            speed_ms: Milliseconds per image of each step.

        Returns:
            What an inspector asks, and the operating point, where one was asked for; the first holds at the threshold
            of the second, where there is one.
        """
        return write_validation(
            self._folder,
            evaluator,
            metrics,
            speed_ms,
            self._options,
            self._settings,
            self.appearance,
            plots=self._args.plots,
            batches=len(self._dataset.batches) if self._args.plots else 0,
            channels=self._dataset.channels,
        )

    def _draw(self, number: int, batch: dict[str, Any], found: list[Tensor]) -> None:
        """Draw the images with their labels, and with the best of what was found."""
        found = [boxes[: self._args.max_det] for boxes in found]
        boxes = torch.cat(found)
        detections = {
            "batch_idx": torch.cat([torch.full_like(of_image[:, 4], index) for index, of_image in enumerate(found)]),
            "bboxes": ops.xyxy2xywh(boxes[:, :4]),
            "conf": boxes[:, 4],
            "cls": boxes[:, 5],
            "img": batch["img"],
        }
        for name, labels in zip(BATCHES[number], (dict(batch), detections), strict=True):  # which the engine changes
            plot_batch(self._folder / name, labels, batch["im_file"], self._names)

    def _draw_matches(self, index: int, batch: dict[str, Any], found: Tensor) -> None:
        """Draw objects, and right, wrong and missed detections of an image side by side, as the engine matches them."""
        own = batch["batch_idx"] == index
        height, width = batch["img"].shape[2:]
        scale = torch.tensor([width, height, width, height], device=found.device)
        objects = {"cls": batch["cls"][own].squeeze(-1), "bboxes": ops.xywh2xyxy(batch["bboxes"][own]) * scale}
        matrix = ConfusionMatrix(names=self._names, save_matches=True)
        detections = {"bboxes": found[:, :4], "conf": found[:, 4], "cls": found[:, 5]}
        matrix.process_batch(detections, objects, conf=self._args.conf)
        file, args = one_name(self._called.relative(batch["im_file"][index])), self._args
        matrix.plot_matches(batch["img"][index], file, self._folder, args.show_labels, args.show_conf)

    def _write_text(self, image: str, shape: tuple[int, int], scaled: Tensor) -> None:
        """Write the detections in YOLO's format, to a file named by the image's path below the split's folder."""
        file = self._folder / "labels" / f"{self._called.base(image)}.txt"
        write_labels(file, Detections.of(scaled.cpu().numpy(), self._names), shape, self._args.save_conf)


def _without_padding(index: int, batch: dict[str, Any]) -> np.ndarray:
    """Give an image of a batch, (H, W, C) uint8, as it was scaled for the model."""
    place, (height, width) = batch["placement"][index], batch["ori_shape"][index]
    bottom, right = place.top + round(height * place.scale_y), place.left + round(width * place.scale_x)
    return batch["img"][index, :, place.top : bottom, place.left : right].permute(1, 2, 0).cpu().numpy()
