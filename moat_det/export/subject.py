"""What is exported, and what is said of it beside the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

import moat_det
from moat_det.backbones.windows import WindowSpec
from moat_det.data.images.intensity import Intensity
from moat_det.data.sizes.letterbox import PADDING
from moat_det.data.sizes.shape import Shape
from moat_det.detector.base import BaseDetector
from moat_det.export.formats import FORMATS
from moat_det.export.options import ExportOptions
from moat_det.runtime.metadata import VERSION, Metadata

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
        chosen_on: Digest of the images that the weights were chosen by; None where that is not known.
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
    chosen_on: str | None

    def metadata(self, options: ExportOptions) -> Metadata:
        """Give what goes with the file."""
        model = self.model
        norm: Any = getattr(model.model, "normalize", None)
        mean, std = ([float(v) for v in part.flatten()] for part in (norm.mean, norm.std)) if norm else (None, None)
        return Metadata(
            artefact=VERSION,
            format=options.format,
            file=f"{self.name}{FORMATS[options.format].suffix}",
            precision=options.precision,
            names=[model.names[index] for index in sorted(model.names)],
            channels=model.yaml["channels"],
            strides=model.stride.int().tolist(),
            shape=self.shape,
            imgsz=self.imgsz,
            largest=self.largest,
            window=dict(self.window),
            intensity=self.intensity.to_dict(),
            padding=PADDING,
            mean=mean,
            std=std,
            conf=self.conf,
            iou=self.iou,
            max_det=self.max_det,
            memory=[0.0, 0.0],  # measured when the file is there
            weights=self.weights,
            versions={"moat_det": moat_det.__version__, **_versions()},
            chosen_on=self.chosen_on,
        )

    def example(self, facts: Metadata) -> torch.Tensor:
        """Give an input to trace with: where sizes vary two images, of more than one window along each side."""
        if self.shape is not None:
            return torch.zeros(1, facts.channels, *self.shape, dtype=torch.uint8)
        rows, columns = 3, 4
        for cells, stride in zip(self.cells, (16, 32), strict=False):
            if cells is not None:
                rows = max(rows, 2 * cells[0] * stride // facts.stride + 1)
                columns = max(columns, 2 * cells[1] * stride // facts.stride + 2)
        return torch.zeros(2, facts.channels, rows * facts.stride, columns * facts.stride, dtype=torch.uint8)


def _versions() -> Mapping[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
