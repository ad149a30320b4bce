"""Files of the models that are measured, written by the formats of `moat export`.

What `moat export` adds, the comparison with a checkpoint, has no meaning for random weights.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from moat_det.benchmark.cases import DetectorCase
from moat_det.benchmark.passes import build, random_images
from moat_det.export.calibration import Calibration
from moat_det.export.formats import FORMATS, write
from moat_det.export.graph import Predictions

_CALIBRATION = 4  # images of noise that int8 takes its ranges from: which ones they are does not change what it costs


class Exports:
    """Writes the file of a case, once for all cases that share it.

    Args:
        folder: Where they go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: dict[tuple[object, ...], Path] = {}

    def file_of(self, case: DetectorCase) -> Path:
        """Give the file of a case; float32 and bfloat16 share one."""
        quantised = case.dtype == "int8"
        key = (case.model, case.imgsz, case.window, case.batch, case.format, quantised)
        if key not in self._written:
            self._written[key] = _write(case, self._folder / f"{len(self._written)}", quantised)
        return self._written[key]


def _write(case: DetectorCase, stem: Path, quantised: bool) -> Path:
    model = Predictions(build(replace(case, dtype="float32")), dynamic=False)
    images = random_images(replace(case, batch=_CALIBRATION * case.batch)).contiguous()
    example = images[: case.batch]
    file = stem.with_suffix(FORMATS[case.format].suffix)
    calibration = Calibration(images.split(case.batch), torch.Tensor.numpy)
    write(case.format, model, example, file, precision="int8" if quantised else "f32", calibration=calibration)
    return file
