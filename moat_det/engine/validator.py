"""Validation: the engine's loop in training, our own afterwards, and pycocotools' figures in both."""

from __future__ import annotations

import logging
import math
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.checks import check_imgsz
from ultralytics.utils.ops import Profile

from moat_det.data.config import check_channels, load_dataset
from moat_det.data.dataset import DetectionDataset, build_dataset
from moat_det.data.images.intensity import Intensity
from moat_det.data.loader.loader import default_workers, killed_workers_explained, make_loader
from moat_det.data.sizes.imgsz import multiple_of
from moat_det.data.sizes.native import NativeSize
from moat_det.detector.nms import non_max_suppression, read_output
from moat_det.engine.device import choose_device, compile_model
from moat_det.engine.ground_truth import dataset_ground_truth
from moat_det.engine.inference_options import InferenceOptions
from moat_det.engine.memory import MemoryCheck
from moat_det.engine.windows import WindowChooser
from moat_det.errors import UserError
from moat_det.evaluation import (
    CocoEvaluator,
    CocoMetrics,
    coco_ground_truth,
    confusion_matrix,
    load_annotations,
    metrics_table,
    number_categories,
    number_images,
    plot_confusion_matrix,
    plot_precision_recall,
    write_results,
)

logger = logging.getLogger(__name__)

# Below this score a detection is not shown to anybody, so it is none in the confusion matrix either.
CONFUSION_CONF = 0.25


class Validator(DetectionValidator):
    """Measures a detector on a split.

    Attributes:
        coco: The figures of the last run.

    Args:
        dataloader: The split's batches; made from `args.data` when None.
        save_dir: The run's folder; made from `args.project` and `args.name` when None.
        args: The engine's arguments.
        annotations: The user's own COCO JSON, whose ids and boxes to use instead of the dataset's labels.
        options: Our own.
    """

    args: Any
    dataloader: Any
    coco: CocoMetrics

    def __init__(
        self,
        dataloader: Any = None,
        save_dir: Path | None = None,
        args: Any = None,
        _callbacks: Any = None,
        annotations: str | None = None,
        options: InferenceOptions | None = None,
    ) -> None:
        super().__init__(dataloader, save_dir, args, _callbacks)
        self.options = options or InferenceOptions()
        self.args.save_json = False  # ours are always written, with ids that the ground truth shares
        self._annotations = annotations
        self._workers = args.get("workers") if isinstance(args, dict) else None
        self._evaluator: CocoEvaluator | None = None
        self._found: list[tuple[Path, np.ndarray, np.ndarray, np.ndarray]] = []

    def __call__(self, trainer: Any = None, model: DetectionModel | None = None) -> dict[str, float] | None:
        """Measure the trainer's averaged model, or `model`.

        Returns:
            The figures by name, those of results.csv.
        """
        if trainer is not None:
            return super().__call__(trainer)
        assert model is not None
        with torch.inference_mode(), killed_workers_explained():
            return self._validate(model)

    def _validate(self, model: DetectionModel) -> dict[str, float]:
        self.training = False
        self.device = choose_device(self.args.device)
        self.data = load_dataset(self.args.data, split=self.args.split)
        if not self.args.single_cls:
            self._check_names(dict(model.names))
        check_channels(model.yaml["channels"], self.data)
        self._take_intensity(model.intensity)
        mixed = self.args.amp not in {False, "fp32"} and self.args.quantize != 32
        # Tensors made in inference mode have no version to tell a stale table by, so that none would be remembered.
        with torch.inference_mode(False), torch.no_grad():
            model = deepcopy(model).to(self.device).float().eval().fuse(verbose=False)
            model.prepare(self.device, mixed)
        compiled = compile_model(model, self.device, self.args.compile)
        self.args.quantize = None
        self.stride = max(int(model.stride.max()), 32)
        self.args.imgsz = check_imgsz(self.args.imgsz, stride=self.stride, max_dim=1)
        self._shape = self.options.shape and multiple_of(self.options.shape, self.stride)
        self.names = model.names
        windows = WindowChooser(model, self.options.window, self.options.position)
        if self.dataloader is None:
            self.dataloader = self.get_dataloader(self.data[self.args.split], self.args.batch)
            self._check_memory(model, windows)
        self.run_callbacks("on_val_start")
        timers = {name: Profile(device=self.device) for name in ("preprocess", "inference", "postprocess")}
        self.init_metrics(model)
        for index, batch in enumerate(tqdm(self.dataloader, desc=self.get_desc(), disable=None)):
            self.batch_i = index
            with timers["preprocess"]:
                batch = self.preprocess(batch)
            windows.follow(*batch["img"].shape[2:])
            with timers["inference"]:
                raw = compiled(batch["img"], augment=self.args.augment)
            with timers["postprocess"]:
                found = self.postprocess(raw)
            self.update_metrics(found, batch)
            if self.args.plots and index < 3:
                self.plot_val_samples(batch, index)
                self.plot_predictions(batch, found, index)
        self.speed = {name: timer.t / max(self.seen, 1) * 1e3 for name, timer in timers.items()}
        figures = self.get_stats()
        self.finalize_metrics()
        self.print_results()
        self.run_callbacks("on_val_end")
        return figures

    def _check_names(self, known: dict[int, str]) -> None:
        wanted = self.data["names"]
        if list(known.values()) != list(wanted.values()):
            raise UserError(
                f"the weights know the classes {list(known.values())}, {self.args.data} has {list(wanted.values())}: "
                "validate with the data's own weights, or bring 'names' into the weights' order"
            )

    def _take_intensity(self, trained: Intensity) -> None:
        """Read images as the training did, whatever the YAML says now."""
        if self.data["intensity"].kind not in {"auto", trained.kind}:
            logger.warning(
                f"{self.args.data}: 'intensity: {self.data['intensity']}' is not used, the weights were trained with "
                f"{trained}"
            )
        self.data["intensity"] = trained

    def build_dataset(self, img_path: str, mode: str = "val", batch: int | None = None) -> DetectionDataset:
        """Index the images and labels of the split."""
        native = NativeSize(self.stride, self.options.max_pixels) if self.options.native else None
        return build_dataset(
            self.args,
            img_path,
            batch or self.args.batch,
            self.data,
            mode=mode,
            rect=True,
            stride=self.stride,
            native=native,
            shape=self._shape,
        )

    def get_dataloader(self, dataset_path: str, batch_size: int) -> Any:
        """The split's batches; at native size each is of images of one shape."""
        workers = default_workers(self.device) if self._workers is None else self._workers
        dataset = self.build_dataset(dataset_path, batch=batch_size)
        if not self.options.native:
            return make_loader(dataset, batch_size, workers, self.device)
        scaled = sum(math.prod(label["shape"]) > (self.options.max_pixels or math.inf) for label in dataset.labels)
        if scaled:
            logger.warning(f"{scaled} of {len(dataset)} images are scaled down by --max-pixels")
        # A few workers, since each holds whole images.
        return make_loader(dataset, batch_size, min(workers, 2), self.device, batches=dataset.batches())

    def _check_memory(self, model: DetectionModel, windows: WindowChooser) -> None:
        """Refuse the run before its first pass if its largest batch would not fit; sizes are known by now."""
        dataset: DetectionDataset = self.dataloader.dataset
        largest = max(dataset.batches(), key=lambda batch: len(batch) * math.prod(dataset.padded_shape(batch[0])))
        height, width = dataset.padded_shape(largest[0])
        windows.set(height, width)
        check = MemoryCheck(model, windows, self.options)
        check.check((len(largest), dataset.channels, height, width), torch.uint8, dataset.im_files[largest[0]])

    def preprocess(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Move the batch to the device; models take its images as they are, uint8."""
        return {
            key: value.to(self.device, non_blocking=self.device.type == "cuda") if isinstance(value, Tensor) else value
            for key, value in batch.items()
        }

    def init_metrics(self, model: DetectionModel) -> None:
        """Start anew; the ground truth is made once, in the first run."""
        super().init_metrics(model)
        self._found = []
        self._cut = 0
        if self._evaluator is None:
            self._evaluator = self._make_evaluator(self.dataloader.dataset, dict(model.names))

    def _make_evaluator(self, dataset: DetectionDataset, names: dict[int, str]) -> CocoEvaluator:
        images = dataset_ground_truth(dataset)
        paths = [image.path for image in images]
        if self._annotations is not None:
            return CocoEvaluator(*load_annotations(Path(self._annotations), paths, names), names)
        truth = coco_ground_truth(images, names)
        return CocoEvaluator(truth, number_images(paths), number_categories(names), names)

    def postprocess(self, preds: Any) -> list[dict[str, Tensor]]:
        """Suppress double detections; the engine's names for boxes, scores and classes."""
        predictions, level_sizes = read_output(preds)
        kept, found = non_max_suppression(
            predictions,
            self.args.conf,
            self.args.iou,
            level_sizes=level_sizes,
            classes=self.args.classes,
            multi_label=True,
            agnostic=self.args.single_cls or self.args.agnostic_nms,
            max_det=self.args.max_det,
        )
        self._cut += sum(count > self.args.max_det for count in found)
        return [{"bboxes": x[:, :4], "conf": x[:, 4], "cls": x[:, 5], "extra": x[:, 6:]} for x in kept]

    def update_metrics(self, preds: list[dict[str, Tensor]], batch: dict[str, Any]) -> None:
        """Take in a batch's detections, scaled back to the pixels of the files."""
        super().update_metrics(preds, batch)
        for index, found in enumerate(preds):
            image = self._prepare_batch(index, batch)
            scaled = self.scale_preds(self._prepare_pred(found), image)
            self._found.append(
                (
                    Path(image["im_file"]),
                    scaled["bboxes"].cpu().numpy(),
                    scaled["conf"].cpu().numpy(),
                    scaled["cls"].cpu().numpy().astype(int),
                )
            )

    def get_stats(self) -> dict[str, float]:
        """Compute the figures: precision and recall at the best F1 by the engine, AP by pycocotools."""
        assert self._evaluator is not None
        self._evaluator.reset()
        for path, boxes, scores, classes in self._found:
            self._evaluator.update(path, boxes, scores, classes)
        self.coco = self._evaluator.compute()
        self.metrics.process(save_dir=self.save_dir, plot=False)
        figures = dict(self.metrics.results_dict)
        # pycocotools says -1 where there is no object to find.
        ap, ap50 = max(self.coco.AP, 0.0), max(self.coco.AP50, 0.0)
        figures.update({"metrics/mAP50(B)": ap50, "metrics/mAP50-95(B)": ap, "fitness": ap})
        self._summary = {**figures, "objects": int(self.metrics.nt_per_class.sum())}
        self.metrics.clear_stats()
        return figures

    def finalize_metrics(self) -> None:
        """Write the files and pictures of the run."""
        assert self._evaluator is not None
        if not self.training:
            write_results(self.save_dir, self._evaluator, self.coco, self.speed)
        if self.args.plots:
            matrix = confusion_matrix(self._evaluator, CONFUSION_CONF)
            labels = list(self._evaluator.labels.values())
            plot_confusion_matrix(self.save_dir / "confusion_matrix.png", matrix, labels, CONFUSION_CONF)
            plot_precision_recall(self.save_dir / "PR_curve.png", self.coco)

    def print_results(self) -> None:
        """A line after an epoch; the whole table otherwise."""
        if self.training:
            names = ("metrics/precision(B)", "metrics/recall(B)", "metrics/mAP50(B)", "metrics/mAP50-95(B)")
            values = (self._summary[name] for name in names)
            logger.info(("%22s" + "%11i" * 2 + "%11.3g" * 4) % ("all", self.seen, self._summary["objects"], *values))
            return
        if self._cut:
            logger.warning(
                f"{self._cut} of {self.seen} images had more than {self.args.max_det} detections above the score of "
                f"{self.args.conf}: the best {self.args.max_det} were kept; raise --max-det to keep more"
            )
        times = ", ".join(f"{time:.1f} ms {name}" for name, time in self.speed.items())
        logger.info(f"\n{metrics_table(self.coco)}\n\n{times} per image\nResults in {self.save_dir}")
