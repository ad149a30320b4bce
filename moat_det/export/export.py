"""Writing a file, comparing it with its checkpoint, and keeping it only if the two agree."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import moat_det
from moat_det.backbones.windows import WindowSpec
from moat_det.data.images.depth import intensity_of_run
from moat_det.data.images.intensity import Intensity
from moat_det.data.images.read import read_image
from moat_det.data.sizes.letterbox import PADDING
from moat_det.data.sizes.shape import Shape
from moat_det.detector.base import BaseDetector
from moat_det.errors import UserError
from moat_det.export.formats import onnx, openvino, torchscript
from moat_det.export.graph import Predictions
from moat_det.export.memory import measure_memory
from moat_det.export.options import ExportOptions
from moat_det.export.parity import Parity, Reference, compare, variants
from moat_det.export.speed import measure_speed
from moat_det.files import atomic_folder, atomic_write_json
from moat_det.runtime import load
from moat_det.runtime.digests import REPORT, digests
from moat_det.runtime.metadata import FILE, VERSION, Metadata
from moat_det.runtime.speed import SECONDS, Speed

logger = logging.getLogger(__name__)

_PACKAGES = ("torch", "ultralytics", "onnx", "onnxruntime", "openvino", "nncf")


@dataclass(frozen=True)
class Subject:
    """What is exported.

    Attributes:
        model: The detector, its windows set; not changed.
        name: Of the checkpoint, without suffix: the file gets it.
        weights: The checkpoint's name and SHA-256.
        shape: Height and width of every input; None where they may vary.
        imgsz: The longer side where they may.
        largest: What an input may be then, so that the checkpoint takes the same windows; None for any.
        window: Policy and position tables; empty for a model without windows.
        cells: Rows and columns of the windows at the two strides, where they are fixed; else None.
        intensity: How more than 8 bits become 8.
        conf: Least score that detection shows.
        iou: Of the suppression.
        max_det: Of the suppression.
    """

    model: BaseDetector
    name: str
    weights: dict[str, str]
    shape: Shape | None
    imgsz: int
    largest: Shape | None
    window: dict[str, WindowSpec | None]
    cells: Sequence[Shape | None]
    intensity: Intensity
    conf: float
    iou: float
    max_det: int


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        folder: With the file, its metadata and its report.
        parity: How far it is from the checkpoint.
        speed: What an image takes in the one and in the other.
    """

    folder: Path
    parity: Parity
    speed: Speed


def export_model(subject: Subject, options: ExportOptions, folder: Path, images: Sequence[Path]) -> Exported:
    """Export a detector.

    Args:
        subject: What is exported.
        options: How.
        folder: Where to; nothing, or an empty folder, may be there.
        images: What it is compared on; for int8 also what ranges are measured on.

    Raises:
        UserError: A package is missing, the folder holds something, or the file does not agree with the checkpoint;
            then nothing is written.
        OSError: The folder cannot be written.
    """
    model = Predictions(subject.model, options.dynamic)
    facts = _metadata(subject, options)
    pictures = [(path.name, read_image(path, facts.channels)) for path in images]
    reference = Reference(
        model,
        subject.model.names,
        facts.sizes(),
        intensity_of_run(subject.intensity),
        facts.channels,
        facts.iou,
        facts.max_det,
    )
    try:
        with atomic_folder(folder) as temporary:
            eight_bit = [reference.picture(image) for _, image in pictures]
            _write(model, subject, options, temporary / facts.file, eight_bit, facts)
            facts = replace(facts, memory=measure_memory(temporary, facts))
            atomic_write_json(temporary / FILE, facts.to_dict(), indent=2)
            report = {"sha256": digests(temporary.iterdir()), "parity": None}
            atomic_write_json(temporary / REPORT, report)
            exported = load(temporary)
            parity = compare(reference, exported, list(variants(pictures)))
            if options.precision == "f32" and (fault := parity.fault()):
                raise UserError(f"{facts.file} does not agree with {subject.weights['file']}: {fault}; it is not kept")
            speed = measure_speed(exported, model, facts.shape or facts.largest or (facts.imgsz, facts.imgsz))
            report |= {"parity": parity.to_dict(), SECONDS: asdict(speed)}
            atomic_write_json(temporary / REPORT, report, indent=2)
    except FileExistsError:
        raise UserError(f"--out {folder}: it exists and is not empty: choose another folder") from None
    return Exported(folder, parity, speed)


def _write(
    model: Predictions,
    subject: Subject,
    options: ExportOptions,
    file: Path,
    pictures: Sequence[np.ndarray],
    facts: Metadata,
) -> None:
    example = _example(subject, facts)
    if options.format == "onnx":
        onnx.write(model, example, file, options.dynamic)
    elif options.format == "torchscript":
        torchscript.write(model, example, file)
    else:
        sizes = facts.sizes()
        calibration = [sizes.fit(picture)[0][..., ::-1].transpose(2, 0, 1)[None].copy() for picture in pictures]
        openvino.write(model, example, file, options.dynamic, options.precision, calibration)


def _example(subject: Subject, facts: Metadata) -> torch.Tensor:
    """Give an input to trace with: where sizes vary two images, of more than one window along each side."""
    if subject.shape is not None:
        return torch.zeros(1, facts.channels, *subject.shape, dtype=torch.uint8)
    rows, columns = 3, 4
    for cells, stride in zip(subject.cells, (16, 32), strict=False):
        if cells is not None:
            rows = max(rows, 2 * cells[0] * stride // facts.stride + 1)
            columns = max(columns, 2 * cells[1] * stride // facts.stride + 2)
    return torch.zeros(2, facts.channels, rows * facts.stride, columns * facts.stride, dtype=torch.uint8)


def _metadata(subject: Subject, options: ExportOptions) -> Metadata:
    module = {"onnx": onnx, "openvino": openvino, "torchscript": torchscript}[options.format]
    model = subject.model
    norm: Any = getattr(model.model, "normalize", None)
    mean, std = ([float(v) for v in part.flatten()] for part in (norm.mean, norm.std)) if norm else (None, None)
    return Metadata(
        artefact=VERSION,
        format=options.format,
        file=f"{subject.name}{module.SUFFIX}",
        precision=options.precision,
        names=[model.names[index] for index in sorted(model.names)],
        channels=model.yaml["channels"],
        strides=model.stride.int().tolist(),
        shape=subject.shape,
        imgsz=subject.imgsz,
        largest=subject.largest,
        window=dict(subject.window),
        intensity=subject.intensity.to_dict(),
        padding=PADDING,
        mean=mean,
        std=std,
        conf=subject.conf,
        iou=subject.iou,
        max_det=subject.max_det,
        memory=[0.0, 0.0],  # measured when the file is there
        weights=subject.weights,
        versions={"moat_det": moat_det.__version__, **_versions()},
    )


def _versions() -> Mapping[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
