"""Validation: one loop for the epochs of a training and for `val.py`, with pycocotools' figures in both."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from itertools import chain
from operator import itemgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from ultralytics.cfg import get_cfg
from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.utils.ops import Profile

from moat_det.data.index.labels import ONE_CLASS, labelled_images
from moat_det.data.loader.loader import Loader, killed_workers_explained
from moat_det.detector.base import BaseDetector
from moat_det.detector.nms import non_max_suppression, read_output
from moat_det.engine.boxes import in_file
from moat_det.engine.checkpoint import weights_digest
from moat_det.engine.device import choose_device, compile_model, is_mixed
from moat_det.engine.distributed.group import ALONE, Group
from moat_det.engine.inference_options import ValidationOptions
from moat_det.engine.loggers import confusion_for_loggers
from moat_det.engine.memory_check import MemoryCheck
from moat_det.engine.operating_points import validation_settings
from moat_det.engine.trained import Trained
from moat_det.engine.validation_data import largest_batch, open_split, read_data
from moat_det.engine.validation_files import ValidationFiles
from moat_det.engine.window_chooser import WindowChooser
from moat_det.evaluation import LEAST_SCORE, CocoEvaluator, CocoMetrics
from moat_det.evaluation.inspection.parts import read_parts
from moat_det.evaluation.make_evaluator import make_evaluator
from moat_det.evaluation.validation_files import log_validation, warn_of_cuts, warn_of_unreadable
from moat_det.progress import progress
from moat_det.run_folder import claim_run, tell_former

logger = logging.getLogger(__name__)

_BOX = 4  # numbers of a prediction before its scores
AP = "metrics/mAP50-95(B)"
"""What the AP of an epoch is called, in `results.csv` too."""
_NAMES = ("metrics/precision(B)", "metrics/recall(B)", "metrics/mAP50(B)", AP)


class Validator:
    """Measures a detector on a split.

    Attributes:
        coco: The figures of the last run.
        speed: Milliseconds per image of each step in the last run.
        metrics: The names of the figures as `keys`, and those of the last run as `results_dict`, where the engine's
            trainer and its loggers look for them.
        plots: Pictures, where the engine's loggers look for them: none.
        jdict: Detections to draw, where one of them looks for some: none.

    Args:
        args: The engine's arguments.
        dataloader: The split's batches; made from `args.data` when None.
        save_dir: The run's folder; made from `args.project` and `args.name` when None.
        callbacks: The user's, by event; each is called with the validator.
        options: Our own.
        trained: What the model was trained on.
        group: The processes that validate together: each detects in batches of its own, the first one measures, and
            all get the figures.
    """

    coco: CocoMetrics

    def __init__(
        self,
        args: dict[str, Any],
        dataloader: Loader | None = None,
        save_dir: Path | None = None,
        *,
        callbacks: Mapping[str, list[Callable[..., None]]] | None = None,
        options: ValidationOptions | None = None,
        trained: Trained | None = None,
        group: Group = ALONE,
    ) -> None:
        self.group = group
        self.args: Any = get_cfg(overrides=args)
        if self.args.conf is None:
            self.args.conf = LEAST_SCORE
        self.dataloader: Any = dataloader
        self.save_dir = save_dir or Path(self.group.share(claim_run(self.args) if self.group.leads else None))
        if save_dir is None and self.args.exist_ok and self.group.leads:
            tell_former(self.save_dir)
        self.callbacks = callbacks or {}
        self.options = options or ValidationOptions()
        self.speed: dict[str, float] = {}
        self.metrics = SimpleNamespace(keys=list(_NAMES), results_dict={})
        self.plots: dict[Path, Any] = {}
        self.jdict: list[Any] = []
        self.device = torch.device("cpu")
        self._trained = trained or Trained()
        self._workers = args.get("workers")  # the engine's default says nothing
        self._evaluator: CocoEvaluator | None = None  # made in the first run, with the ground truth
        self._seen = self._cut = 0

    def __call__(self, trainer: Any = None, model: BaseDetector | None = None) -> dict[str, float]:
        """Measure the averaged model of a trainer's epoch, or `model`, which stays as it is.

        Returns:
            By their names in `results.csv`: precision and recall (see `evaluation.best_f1`), AP at IoU 0.5, AP, all in
            [0, 1], and AP once more as `fitness`. Of an epoch also the training's losses, the mean over the images of
            those of their batch, as they come out of the same pass; and all rounded to 5 digits, by which `best.pt` is
            chosen.

        Raises:
            UserError: The split is not in order or not the model's, or its largest batch needs more memory than there
                is.
        """
        with torch.inference_mode(), killed_workers_explained():
            if trainer is not None:
                return self._measure_epoch(trainer)
            assert model is not None
            return self._measure(model)

    def _measure_epoch(self, trainer: Any) -> dict[str, float]:
        """Measure the average as it is, in the training's number format and windows; nothing is written."""
        self.device = trainer.device
        model: BaseDetector = trainer.ema.ema.float().eval()
        model.end2end = self.args.nms is False  # some of the engine's models have a second head, free of suppression
        of_batches: list[tuple[int, dict[str, float]]] = []

        def add_losses(number: int, batch: dict[str, Any], raw: Any) -> None:
            losses = model.loss(batch, raw)[1].items()
            of_batches.append((number, {name: float(loss) * len(batch["img"]) for name, loss in losses}))

        figures = self._figures(self._loop(dict(model.names), model, add_losses))
        losses = self.group.share(_summed(self.group.gather(of_batches)))
        objects = sum(row["boxes"] for row in self.coco.per_class.values())
        logger.info(("%22s" + "%11s" * 6) % ("Class", "Images", "Instances", "Box(P", "R", "mAP50", "mAP50-95)"))
        logger.info(("%22s" + "%11i" * 2 + "%11.3g" * 4) % ("all", self._seen, objects, *map(figures.get, _NAMES)))
        self.run_callbacks("on_val_end")
        figures |= {f"val/{name}": loss / self._seen for name, loss in losses.items()}
        return {name: round(value, 5) for name, value in figures.items()}

    def _measure(self, model: BaseDetector) -> dict[str, float]:
        """Measure a copy as it will be used, folded and in the device's number format; write files and pictures."""
        self.device = choose_device(self.args.device)
        data = None if self.dataloader is not None else read_data(self.args, model, self._trained.intensity)
        mixed = is_mixed(self.args.amp, self.args.quantize)
        weights, imgsz = weights_digest(model), self.args.imgsz  # before the one is folded and the other rounded
        # Tensors made in inference mode have no version to tell a stale table by, so that none would be remembered.
        with torch.inference_mode(False), torch.no_grad():
            model = deepcopy(model).to(self.device).float().eval().fuse(verbose=False)
            model.prepare(self.device, mixed)
        compiled = compile_model(model, self.device, self.args.compile)
        windows = WindowChooser(model, self._trained.size, self.options.window, self.options.position)
        if data is not None:
            stride = max(int(model.stride.max()), 32)
            self.dataloader = open_split(self.args, data, self.options, stride, self.device, self._workers, self.group)
            shape, image = largest_batch(self.dataloader.dataset)
            windows.set(*shape[2:])
            MemoryCheck(model, windows).check(shape, torch.uint8, image, self.dataloader.dataset.sizes)
        settings = validation_settings(
            self.args,
            self.options,
            self._trained,
            self.dataloader.dataset,
            weights,
            list(model.names.values()),
            imgsz,
            model.dtype,
        )
        DetectionValidator._check_max_det(self.args, {self.args.split: self.dataloader.dataset})
        names = {0: ONE_CLASS} if self.args.single_cls else dict(model.names)
        files = ValidationFiles(self.save_dir, self.args, self.dataloader.dataset, names, self.options, settings)

        def forward(images: Tensor) -> Any:
            windows.follow(*images.shape[2:])
            return compiled(images, augment=self.args.augment)

        evaluator = self._loop(names, forward, with_found=files.add)
        figures = self._figures(evaluator)
        files.join(self.group.gather(files.appearance))
        if self.group.leads:
            written = files.write(evaluator, self.coco, self.speed)
            warn_of_cuts(self._cut, self._seen, self.args.max_det, self.args.conf)
            log_validation(self.save_dir, self.coco, self.speed, *written)
            unreadable = self.dataloader.dataset.index.report.unreadable
            warn_of_unreadable(len(unreadable), self._seen, self.options.annotations)
        self.group.share(None)  # the files are there for all
        self.run_callbacks("on_val_end")
        return figures

    def _loop(
        self,
        names: dict[int, str],
        forward: Callable[[Tensor], Any],
        with_raw: Callable[[int, dict[str, Any], Any], None] | None = None,
        with_found: Callable[[int, dict[str, Any], list[Tensor], list[Tensor]], None] | None = None,
    ) -> CocoEvaluator:
        """Detect in every image.

        Args:
            names: Class index -> name.
            forward: What detects.
            with_raw: What else to do with a batch's number, the batch, and the model's raw output.
            with_found: What else to do with a batch's number, the batch, and what was found in each image: (N, 6), x1,
                y1, x2, y2, score and class, in pixels of the batch, and the same in pixels of the file.

        Returns:
            The evaluator, which in the first process has the detections of all.
        """
        evaluator = self._evaluator = self._evaluator or self._make_evaluator(names)
        evaluator.reset()
        self._seen = self._cut = 0
        timers = {name: Profile(device=self.device) for name in ("preprocess", "inference", "postprocess")}
        self.run_callbacks("on_val_start")
        batches = self.dataloader
        if self.group.leads:
            batches = progress(batches, "validating", unit="batch", leave=False)
        for turn, batch in enumerate(batches):
            number = turn * self.group.size + self.group.rank
            self.run_callbacks("on_val_batch_start")
            with timers["preprocess"]:
                batch = self.preprocess(batch)
            with timers["inference"]:
                raw = forward(batch["img"])
            if with_raw is not None:
                with_raw(number, batch, raw)
            with timers["postprocess"]:
                found = self._suppress(raw)
            placed = zip(found, batch["placement"], batch["ori_shape"], strict=True)
            scaled = [in_file(boxes, place, size) for boxes, place, size in placed]
            for file, boxes in zip(batch["im_file"], scaled, strict=True):
                numbers = boxes.cpu().numpy()
                evaluator.update(Path(file), numbers[:, :4], numbers[:, 4], numbers[:, 5].astype(int))
            self._seen += len(found)
            if with_found is not None:
                with_found(number, batch, found, scaled)
            self.run_callbacks("on_val_batch_end")
        self._join(evaluator, {name: timer.t for name, timer in timers.items()})
        return evaluator

    def _join(self, evaluator: CocoEvaluator, seconds: dict[str, float]) -> None:
        """Bring together what the processes found and counted."""
        for detections in self.group.gather(evaluator.detections):
            evaluator.join(detections)
        counts = self.group.gather((self._seen, self._cut, seconds))
        seen, cut, times = self.group.share(tuple(zip(*counts, strict=True)))
        self._seen, self._cut = sum(seen), sum(cut)
        self.speed = {name: sum(each[name] for each in times) / max(self._seen, 1) * 1e3 for name in seconds}

    def _make_evaluator(self, names: dict[int, str]) -> CocoEvaluator:
        """Make it with the ground truth, whose images must be of parts."""
        only = None if self.args.single_cls else self.args.classes
        images = labelled_images(self.dataloader.dataset.labels)
        evaluator = make_evaluator(images, names, self.options.annotations, only)
        read_parts(evaluator.ground_truth, [], self.options.group)  # before hours of detecting, not after
        return evaluator

    def preprocess(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Move the batch to the device; models take its images as they are, uint8."""
        return {
            key: value.to(self.device, non_blocking=self.device.type == "cuda") if isinstance(value, Tensor) else value
            for key, value in batch.items()
        }

    def _suppress(self, raw: Any) -> list[Tensor]:
        """Suppress double detections: (N, 6) for each image, in pixels of the batch."""
        predictions, level_sizes = read_output(raw)
        # One that was trained with --single-cls has one class, whichever the data's are that it is made of.
        merged = self.args.single_cls and predictions.shape[1] == _BOX + 1
        kept, found = non_max_suppression(
            predictions,
            self.args.conf,
            self.args.iou,
            level_sizes=level_sizes,
            classes=None if merged else self.args.classes,
            agnostic=self.args.single_cls or self.args.agnostic_nms,
            max_det=self.args.max_det,
        )
        self._cut += sum(count > self.args.max_det for count in found)
        if self.args.single_cls:
            for boxes in kept:
                boxes[:, 5] = 0
        return kept

    def run_callbacks(self, event: str) -> None:
        """Call the user's callbacks for an event."""
        for callback in self.callbacks.get(event, []):
            callback(self)

    @property
    def confusion_matrix(self) -> SimpleNamespace:
        """Give the counts of the last run as `matrix` and the classes as `names`, where the engine's loggers look."""
        assert self._evaluator is not None
        return confusion_for_loggers(self._evaluator)

    def _figures(self, evaluator: CocoEvaluator) -> dict[str, float]:
        self.coco = self.group.share(evaluator.compute() if self.group.leads else None)
        # pycocotools says -1 where there is no object to find.
        ap, ap50 = max(self.coco.AP, 0.0), max(self.coco.AP50, 0.0)
        figures = (self.coco.precision, self.coco.recall, ap50, ap)
        self.metrics.results_dict = dict(zip(_NAMES, figures, strict=True)) | {"fitness": ap}
        return dict(self.metrics.results_dict)


def _summed(of_processes: Iterable[list[tuple[int, dict[str, float]]]]) -> dict[str, float]:
    """Add up the losses of all batches in their order, so that the sums do not depend on the number of processes."""
    total: dict[str, float] = {}
    for _, losses in sorted(chain(*of_processes), key=itemgetter(0)):
        for name, loss in losses.items():
            total[name] = total.get(name, 0.0) + loss
    return total
