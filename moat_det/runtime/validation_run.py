"""Validation of an exported model: the figures and files of a checkpoint's, without its pictures of batches."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from moat_det.cores import READING_THREADS
from moat_det.data.config import DatasetConfig, reading, split_paths
from moat_det.data.images.header import large_images
from moat_det.data.images.read import naming_unreadable
from moat_det.data.index import open_index
from moat_det.data.index.labels import ONE_CLASS, keep_classes, labelled_images
from moat_det.data.of_model import load_for_model, settle_intensity
from moat_det.data.sizes.policy import Batch
from moat_det.demo import dataset_source
from moat_det.detection.classes import check_classes
from moat_det.detection.detections import Detections
from moat_det.detection.label_files import write_labels
from moat_det.detection.output_names import OutputNames, common_folder
from moat_det.errors import UserError
from moat_det.evaluation import CocoMetrics
from moat_det.evaluation.drift.appearance import appearance
from moat_det.evaluation.inspection.parts import read_parts
from moat_det.evaluation.inspection.settings import Settings
from moat_det.evaluation.make_evaluator import make_evaluator
from moat_det.evaluation.validation_files import log_validation, warn_of_cuts, warn_of_unreadable, write_validation
from moat_det.files import claim_folder
from moat_det.paths import PROJECT
from moat_det.progress import progress
from moat_det.run_folder import check_apart, tell_former
from moat_det.runtime.detector import RuntimeDetector
from moat_det.runtime.memory_check import MemoryCheck
from moat_det.runtime.options import RuntimeValidation
from moat_det.runtime.side_by_side import ahead

logger = logging.getLogger(__name__)

_PAGE_PACKAGES = ("jinja2", "matplotlib", "sklearn", "vl_convert")


class ValidationRun:
    """Measures an exported model on a split.

    Args:
        detector: The model.
        options: Of the user.

    Raises:
        UserError: The dataset is not in order, or not of the model's classes and bands, or a package is missing that an
            option needs.
    """

    def __init__(self, detector: RuntimeDetector, options: RuntimeValidation) -> None:
        self._detector, self._options = detector, options
        facts = detector.metadata
        missing = [name for name in _PAGE_PACKAGES if find_spec(name) is None] if options.report else []
        if missing:
            raise UserError(f"--report needs the packages {', '.join(missing)}: pip install {' '.join(missing)}")
        known = dict(enumerate(facts.names))
        check_classes(options.classes, known)
        data: DatasetConfig = load_for_model(
            dataset_source(options.data),
            options.split,
            names=None if options.single_cls else facts.names,
            channels=facts.channels,
            intensity=facts.read_intensity(),
            given=options.data,
        )
        self._names, prefix = {0: ONE_CLASS} if options.single_cls else known, f"{options.split}: "
        names = None if options.single_cls else data["names"]
        self._index = open_index(split_paths(data, options.split), names, prefix=prefix, **reading(data))
        self._index.report.log(prefix, facts.channels)
        self._intensity = settle_intensity(
            data["intensity"], self._index.paths, self._index.report.deep, facts.channels, prefix
        )
        self._labels = self._index.labels()
        for label in self._labels:
            keep_classes(label, options.classes, options.single_cls)
        self._batches = self._divide()
        only = None if options.single_cls else options.classes
        self._evaluator = make_evaluator(labelled_images(self._labels), self._names, options.annotations, only)
        read_parts(self._evaluator.ground_truth, [], options.group)  # before hours of detecting, not after
        self._seconds = {"preprocess": 0.0, "inference": 0.0, "postprocess": 0.0}
        self._appearances: dict[str, tuple[float, float]] = {}
        self._cut = 0

    def run(self) -> CocoMetrics:
        """Detect in every image, and write what is due.

        Raises:
            UserError: An image can no longer be read, the file does not take its size, or a pass would not fit into
                the memory.
            OSError: A file cannot be written.
        """
        options = self._options
        memory = MemoryCheck(self._detector.metadata, self._detector.sizes)
        for batch in self._batches:
            first = self._labels[batch.images[0]]["im_file"]
            try:
                self._detector.metadata.check(*batch.shape)
            except UserError as error:
                raise UserError(f"{first}: {error}") from None
            memory.check(len(batch.images), batch.shape, first)
        place = Path(options.project or PROJECT, options.name or "val").absolute()
        folder = claim_folder(place, options.exist_ok)
        if options.exist_ok:
            tell_former(folder)
        files = [label["im_file"] for label in self._labels]
        called = OutputNames(common_folder(files))
        if options.save_txt:
            check_apart(folder, files)
            called.settle(files)
        with ThreadPoolExecutor(READING_THREADS) as threads, large_images():
            read = ahead(self._read, self._batches, threads, READING_THREADS)
            for batch, images, seconds in progress(read, "validating", len(self._batches), unit="batch", leave=False):
                self._seconds["preprocess"] += seconds
                for index, found in self._detect(batch, images):
                    file = self._labels[index]["im_file"]
                    self._evaluator.update(Path(file), found.xyxy, found.score, found.cls)
                    if options.save_txt:
                        labels = folder / "labels" / f"{called.base(file)}.txt"
                        write_labels(labels, found, self._labels[index]["shape"], options.save_conf)
        speed = {name: 1e3 * seconds / len(self._labels) for name, seconds in self._seconds.items()}
        metrics = self._evaluator.compute()
        written = write_validation(
            folder,
            self._evaluator,
            metrics,
            speed,
            options,
            self._settings(),
            self._appearances,
            plots=self._plots(),
            channels=self._detector.metadata.channels,
        )
        warn_of_cuts(self._cut, len(self._labels), self._most, options.conf)
        log_validation(folder, metrics, speed, *written)
        warn_of_unreadable(len(self._index.report.unreadable), len(self._labels), options.annotations)
        return metrics

    @property
    def _most(self) -> int:
        return self._options.max_det or self._detector.metadata.max_det

    def _divide(self) -> list[Batch]:
        """Divide the split into batches, the largest shape first."""
        most = 1 if self._detector.metadata.shape else self._options.batch
        return self._detector.sizes.batches([label["shape"] for label in self._labels], most)

    def _read(self, batch: Batch) -> tuple[Batch, list[tuple[np.ndarray, np.ndarray]], float]:
        """Read the images of a batch: each (H, W, C) uint8, and what the model gets of it; and say how long it took."""
        started = time.perf_counter()
        images = [self._image(self._labels[index]["im_file"]) for index in batch.images]
        read = [(image, self._detector.prepare(image)) for image in images]
        return batch, read, time.perf_counter() - started

    def _image(self, file: str) -> np.ndarray:
        with naming_unreadable(file):
            return self._detector.read(file)

    def _detect(
        self, batch: Batch, images: Sequence[tuple[np.ndarray, np.ndarray]]
    ) -> Iterator[tuple[int, Detections]]:
        """Give the position of each image of a batch, and what is found in it."""
        options = self._options
        with self._timed("inference"):
            outputs = self._detector.infer([given for _, given in images])
        for index, (image, given), predictions in zip(batch.images, images, outputs, strict=True):
            with self._timed("postprocess"):
                found, count = self._detector.suppress(
                    predictions,
                    image.shape[:2],
                    options.conf,
                    options.iou,
                    self._most,
                    options.classes,
                    bool(options.agnostic_nms or options.single_cls),
                )
            self._cut += count > self._most
            if options.single_cls:
                found = Detections(found.xyxy, found.score, np.zeros_like(found.cls), self._names)
            self._appearances[self._labels[index]["im_file"]] = appearance(self._without_padding(image, given))
            yield index, found

    def _without_padding(self, image: np.ndarray, given: np.ndarray) -> np.ndarray:
        """Give an image (H, W, C), RGB where C is 3, as it was scaled for the model."""
        sizes, size = self._detector.sizes, image.shape[:2]
        place, (height, width) = sizes.placement(*size), sizes.scaled(*size)
        return given[:, place.top : place.top + height, place.left : place.left + width].transpose(1, 2, 0)

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._seconds[step] += time.perf_counter() - started

    def _plots(self) -> bool:
        if self._options.plots and find_spec("matplotlib") is None:
            logger.info("no curves are drawn, since matplotlib is not installed: pip install matplotlib")
            return False
        return self._options.plots

    def _settings(self) -> Settings:
        """Give what is measured with, which an operating point holds for."""
        options, facts = self._options, self._detector.metadata
        size = facts.shape or options.size or facts.imgsz
        return Settings(
            weights=self._detector.digest,
            weights_file=str(options.weights),
            split=str(self._index.identity()["digest"]),
            chosen_on_same_split=self._index.chose(facts.chosen_on),
            classes=facts.names,
            conf=options.conf,
            imgsz=list(size) if isinstance(size, tuple) else size,
            max_pixels=options.max_pixels,
            window=facts.window.get("window"),
            position=facts.window.get("position"),
            rect=facts.shape is None,
            iou=facts.iou if options.iou is None else options.iou,
            agnostic_nms=bool(options.agnostic_nms or options.single_cls),
            max_det=self._most,
            augment=False,
            quantize=facts.precision,
            only=options.classes,
            intensity=self._intensity.to_dict(),
        )
