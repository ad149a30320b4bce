"""Detection in the files of a source: they are read, looked at and written side by side."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moat_det.cores import READING_THREADS
from moat_det.data.images.header import large_images
from moat_det.data.sizes.shape import NATIVE
from moat_det.detection.classes import check_classes
from moat_det.detection.detections import Detections
from moat_det.detection.label_files import write_labels
from moat_det.detection.notices import tell_cut, tell_scaled
from moat_det.detection.output_names import OutputNames
from moat_det.detection.pictures import draw_detections, write_picture
from moat_det.detection.shards import Shard, ShardRecord
from moat_det.detection.source_files import list_pictures, source_root, tell_pictures
from moat_det.detection.thresholds import Thresholds
from moat_det.errors import UserError
from moat_det.evaluation.inspection.operating_point import OperatingPoint
from moat_det.evaluation.inspection.verdicts import Verdicts
from moat_det.files import claim_folder
from moat_det.memory import DoesNotFit
from moat_det.paths import PROJECT
from moat_det.progress import progress
from moat_det.run_folder import check_apart, tell_former, tell_results
from moat_det.runtime.detector import RuntimeDetector
from moat_det.runtime.memory_check import MemoryCheck
from moat_det.runtime.metadata import SizeNotTaken
from moat_det.runtime.options import RuntimeDetection
from moat_det.runtime.side_by_side import ahead

logger = logging.getLogger(__name__)

_WRITING_THREADS = 2
_AHEAD = 2 * READING_THREADS  # images that are read, or written, and not yet asked for


@dataclass(frozen=True)
class Found:
    """What was found in an image.

    Attributes:
        path: Of its file.
        file_name: The same below the folder that is read.
        detections: In pixels of the image.
        part: That the image is of; None without an operating point.
    """

    path: str
    file_name: str
    detections: Detections
    part: str | None


@dataclass(frozen=True)
class _Read:
    """An image (H, W, C), uint8, and what the model gets of it."""

    path: str
    image: np.ndarray
    input: np.ndarray


class DetectionRun:
    """Detects in the images of a source once, and writes pictures and labels.

    Attributes:
        names: What the outputs are called.
        folder: Of the run; None while nothing is to be written.
        unreadable: The files that could not be read.
        verdicts: On the parts; None without an operating point.

    Args:
        detector: That looks at the images.
        options: Of the user.
        point: The operating point, whose settings are in `options`; None for none.

    Raises:
        UserError: There is no such source, or no image in it, or the model has no such class.
    """

    def __init__(
        self, detector: RuntimeDetector, options: RuntimeDetection, point: OperatingPoint | None = None
    ) -> None:
        self._detector, self._options = detector, options
        names = dict(enumerate(detector.metadata.names))
        check_classes(options.classes, names)
        if point is None:
            self._conf = np.array(Thresholds.read(options.conf).of_classes(names), np.float32)
        else:
            self._conf = point.least_scores()
        self._files = list_pictures(options.source, why="videos need the checkpoint")
        self._memory = MemoryCheck(detector.metadata, detector.sizes)
        self._of_wrong_size: UserError | None = None  # the first image that is
        self.folder: Path | None = None
        root = source_root(options.source, self._files)
        tell_results(options.project, root, self._files)
        self.names = OutputNames(root)
        self.unreadable: list[str] = []
        self.verdicts = None if point is None else Verdicts(point)
        if self.verdicts is not None:  # before hours of detecting, not after
            self.verdicts.expect(map(self.names.relative, self._files))
        self._shard = None if options.shard is None else Shard.read(options.shard)

    def __iter__(self) -> Iterator[Found]:
        """Give what was found in each image, in the order of the files.

        Raises:
            UserError: A pass would not fit into the memory, or the model takes the size of no image.
            OSError: A file cannot be written.
        """
        if self._options.save or self._options.save_txt:
            self.claim_folder()
        if self._shard is None:
            yield from self._run()
            return
        record = ShardRecord(self.claim_folder(), self._settings(self._shard))
        try:
            self._files = record.left(self._shard, self._files, self.names)
            for found in self._run() if self._files else ():
                record.add(found.detections, found.path, self.names)
                yield found
        finally:
            record.close()

    def _settings(self, shard: Shard) -> dict[str, Any]:
        """Give what the files of a shard depend on."""
        names = ("imgsz", "max_pixels", "iou", "max_det", "agnostic_nms", "classes", "conf", "save", "save_txt")
        return {
            "shard": str(shard),
            "source": os.path.abspath(self._options.source),
            "weights": self._detector.digest,
            **{name: getattr(self._options, name) for name in (*names, "save_conf")},
        }

    def _run(self) -> Iterator[Found]:
        threads = ThreadPoolExecutor(READING_THREADS), ThreadPoolExecutor(_WRITING_THREADS)
        try:
            with large_images(), progress(None, "detecting", len(self._files), unit="image", leave=False) as shown:
                read = ahead(self._read, self._files, threads[0], _AHEAD)
                for path, found in ahead(self._finish, self._look(self._said(read)), threads[1], _AHEAD):
                    shown.update()
                    yield self._judged(path, found)
        finally:
            for pool in threads:
                pool.shutdown(cancel_futures=True)
            for path in self.unreadable:
                if self.verdicts is not None:
                    self.verdicts.add_unreadable(self.names.relative(path))

    def claim_folder(self) -> Path:
        """Make the run's folder, once; give it."""
        if self.folder is None:
            name, exist_ok = self._options.name or "detect", self._options.exist_ok
            if self._shard is not None:
                name, exist_ok = self._shard.folder(name), True
            self.folder = claim_folder(Path(self._options.project or PROJECT, name).absolute(), exist_ok)
            check_apart(self.folder, self._files)
            if self._options.exist_ok and self._shard is None:
                tell_former(self.folder)
        return self.folder

    def _read(self, path: str) -> _Read | tuple[str, UserError]:
        """Give an image, or its file and why there is none."""
        try:
            tell_pictures(path, self._detector.metadata.channels)
            image = self._detector.read(path)
            return _Read(path, image, self._detector.prepare(image))
        except OSError as error:
            return path, UserError(f"{path}: {error.strerror or error}")
        except SizeNotTaken as error:
            return path, SizeNotTaken(f"{path}: {error}")
        except UserError as error:  # samples of a kind that the model cannot take
            return path, UserError(f"{path}: {str(error).removeprefix(f'{path}: ')}")

    def _said(self, images: Iterable[_Read | tuple[str, UserError]]) -> Iterator[_Read]:
        """Say which files cannot be read or are of a wrong size, and leave them out."""
        for one in images:
            if isinstance(one, _Read):
                self._tell_scaling(one)
                self.names.base(one.path)  # in the order of the files, which its number follows from
                yield one
            else:
                self._leave_out(*one)

    def _leave_out(self, path: str, error: UserError) -> None:
        logger.warning(str(error))
        self.unreadable.append(path)
        if self._of_wrong_size is None and isinstance(error, (SizeNotTaken, DoesNotFit)):
            self._of_wrong_size = error

    def _tell_scaling(self, one: _Read) -> None:
        size = one.image.shape[:2]
        scaled = self._detector.sizes.scaled(*size)
        if self._options.sides == NATIVE and scaled != size:
            tell_scaled(one.path, size, scaled)

    def _look(self, images: Iterable[_Read]) -> Iterator[tuple[_Read, np.ndarray]]:
        """Run the model, over images of one shape together; at their own size one that is too large is left out."""
        fitted = False
        for batch in _batches(images, 1 if self._detector.metadata.shape else self._options.batch):
            try:
                self._memory.check(len(batch), batch[0].input.shape[1:], batch[0].path)
            except DoesNotFit as error:
                if len(batch) > 1 or self._options.sides != NATIVE:
                    raise
                self._leave_out(batch[0].path, error)
                continue
            fitted = True
            yield from zip(batch, self._detector.infer([one.input for one in batch]), strict=True)
        if self._of_wrong_size is not None and not fitted:
            raise self._of_wrong_size

    def _finish(self, seen: tuple[_Read, np.ndarray]) -> tuple[str, Detections]:
        """Find the boxes in what the model says of an image, and write what is due."""
        one, predictions = seen
        options, size = self._options, one.image.shape[:2]
        max_det = options.max_det or self._detector.metadata.max_det
        found, count = self._detector.suppress(
            predictions, size, self._conf, options.iou, max_det, options.classes, bool(options.agnostic_nms)
        )
        if count > max_det:
            tell_cut(one.path, count, max_det)
        if self.folder is not None:
            self._write(self.folder, one, found)
        return one.path, found

    def _write(self, folder: Path, one: _Read, found: Detections) -> None:
        options, base = self._options, self.names.base(one.path)
        if options.save_txt:
            write_labels(folder / "labels" / f"{base}.txt", found, one.image.shape[:2], options.save_conf)
        if options.save:
            picture = draw_detections(
                one.image,
                found,
                line_width=options.line_width,
                boxes=options.show_boxes,
                names=options.show_labels,
                scores=options.show_conf,
            )
            write_picture(folder / base, picture)

    def _judged(self, path: str, found: Detections) -> Found:
        name = self.names.relative(path)
        part = None if self.verdicts is None else self.verdicts.add(name, found.score.tolist(), found.classes)
        return Found(path, name, found, part)


def _batches(images: Iterable[_Read], most: int) -> Iterator[list[_Read]]:
    """Divide images into batches of one shape, in their order."""
    batch: list[_Read] = []
    for one in images:
        if batch and (len(batch) == most or one.input.shape != batch[0].input.shape):
            yield batch
            batch = []
        batch.append(one)
    if batch:
        yield batch
