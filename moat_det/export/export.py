"""Writing a file, comparing it with its checkpoint, and keeping it only if the two agree."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from moat_det.data.images.depth import intensity_of_run
from moat_det.data.images.read import naming_unreadable, read_image
from moat_det.errors import UserError
from moat_det.export import formats
from moat_det.export.accuracy import Accuracy, Judge
from moat_det.export.calibration import calibrate_on
from moat_det.export.evidence import Evidence
from moat_det.export.graph import Predictions
from moat_det.export.memory import measure_memory
from moat_det.export.options import ExportOptions
from moat_det.export.parity import Parity, Reference, compare
from moat_det.export.speed import measure_speed
from moat_det.export.subject import Subject
from moat_det.files import atomic_folder, atomic_write_json
from moat_det.progress import progress
from moat_det.runtime import load
from moat_det.runtime.digests import REPORT, digests
from moat_det.runtime.metadata import FILE
from moat_det.runtime.speed import SECONDS, Speed

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        folder: With the file, its metadata and its report.
        parity: How far its outputs are from the checkpoint's.
        accuracy: How far its AP is; None where there were no labels of the model's classes.
        speed: What an image takes in the one and in the other.
    """

    folder: Path
    parity: Parity
    accuracy: Accuracy | None
    speed: Speed


def export_model(subject: Subject, options: ExportOptions, folder: Path, evidence: Evidence) -> Exported:
    """Export a detector.

    Args:
        subject: What is exported.
        options: How.
        folder: Where to; nothing, or an empty folder, may be there.
        evidence: What it is compared on.

    Raises:
        UserError: A package is missing, the folder holds something, an image cannot be read, or the file does not agree
            with the checkpoint; then nothing is written.
        OSError: The folder cannot be written.
    """
    export = _Export(subject, options, evidence)
    try:
        with atomic_folder(folder) as temporary:
            export.write(temporary)
            parity, accuracy = export.compare(temporary)
            if export.lost(accuracy) and options.precision == "int8":
                logger.warning(f"INT8 throughout: {accuracy}; looking for the layers to leave float, which takes long")
                export.write(temporary, control=True)
                parity, accuracy = export.compare(temporary)
            export.check(parity, accuracy)
            speed = export.measure_speed(temporary)
            export.report(temporary, parity, accuracy, speed)
    except FileExistsError:
        raise UserError(f"--out {folder}: it exists and is not empty: choose another folder") from None
    return Exported(folder, parity, accuracy, speed)


class _Export:
    """The steps of an export, each into or from a folder."""

    def __init__(self, subject: Subject, options: ExportOptions, evidence: Evidence) -> None:
        self._subject, self._options, self._evidence = subject, options, evidence
        self._model = Predictions(subject.model, options.dynamic)
        self._facts = facts = subject.metadata(options)
        self._reference = Reference(
            self._model,
            subject.model.names,
            facts.sizes(),
            intensity_of_run(subject.intensity),
            facts.channels,
            facts.iou,
            facts.max_det,
        )

    def write(self, folder: Path, control: bool = False) -> None:
        """Write the file, and what goes with it; with `control` INT8 leaves those layers float that lose most."""
        facts, options = self._facts, self._options
        logger.info(f"Writing {facts.file} ({options.format}, {options.precision})")
        formats.write(
            options.format,
            self._model,
            self._subject.example(facts),
            folder / facts.file,
            precision=options.precision,
            calibration=calibrate_on(self._evidence.training, facts, control),
        )
        measured = replace(facts, memory=measure_memory(folder, facts))
        atomic_write_json(folder / FILE, measured.to_dict(), indent=2)
        self.report(folder)

    def report(
        self,
        folder: Path,
        parity: Parity | None = None,
        accuracy: Accuracy | None = None,
        speed: Speed | None = None,
    ) -> None:
        """Write the report, without which no file loads."""
        content = {
            "sha256": digests(file for file in folder.iterdir() if file.name != REPORT),
            "parity": None if parity is None else parity.to_dict(),
            "accuracy": None if accuracy is None else accuracy.to_dict(),
            **({} if speed is None else {SECONDS: asdict(speed)}),
        }
        atomic_write_json(folder / REPORT, content, indent=2)

    def compare(self, folder: Path) -> tuple[Parity, Accuracy | None]:
        """Run the file and the checkpoint over the images."""
        evidence, text = self._evidence, f"comparing {self._facts.file}"
        judge = Judge(evidence.images, self._subject.model.names) if evidence.judged else None
        pictures = progress(self._pictures(), text, len(evidence.images), unit="image", leave=False)
        parity = compare(self._reference, load(folder), pictures, judge)
        return parity, None if judge is None else judge.result()

    def _pictures(self) -> Iterator[tuple[Path, np.ndarray]]:
        for path in self._evidence.paths:
            with naming_unreadable(path):
                image = read_image(path, self._facts.channels)
            yield path, image

    def measure_speed(self, folder: Path) -> Speed:
        """Measure what an image takes in the file and in the checkpoint."""
        facts = self._facts
        return measure_speed(load(folder), self._model, facts.shape or facts.largest or (facts.imgsz, facts.imgsz))

    def lost(self, accuracy: Accuracy | None) -> str:
        """Say how much AP the file loses where that is too much; else nothing."""
        return "" if accuracy is None else accuracy.fault(self._options.precision)

    def check(self, parity: Parity, accuracy: Accuracy | None) -> None:
        """Raise UserError where the file is not to be kept, and say what the comparison leaves open."""
        precision = self._options.precision
        fault = parity.fault(exact=precision == "f32") or self.lost(accuracy)
        if fault:
            file, weights = self._facts.file, self._subject.weights["file"]
            way_out = "export another --format or --imgsz" if precision == "f32" else "export it in --precision f32"
            raise UserError(
                f"{file} in {precision} does not agree with {weights}: {fault}; it is not kept: {way_out}, or weights "
                "that were trained longer"
            )
        for doubt in [] if accuracy is None else accuracy.doubts(precision):
            logger.warning(doubt)
