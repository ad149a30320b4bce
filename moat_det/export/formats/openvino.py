"""OpenVINO, from the ONNX file: its own front end for PyTorch does not know all of our operations."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino
from torch import Tensor

from moat_det.export.formats import onnx
from moat_det.export.graph import Predictions

SUFFIX = ".xml"


def write(
    model: Predictions, example: Tensor, file: Path, dynamic: bool, precision: str, calibration: Sequence[np.ndarray]
) -> None:
    """Write the file and its weights beside it.

    Args:
        model: What is exported.
        example: See `graph.trace`.
        file: The .xml.
        dynamic: Whether inputs may vary.
        precision: "f32" and "bf16" are one file, which is run in one or the other; "f16" halves the weights; "int8"
            quantises.
        calibration: Inputs (1, C, H, W) uint8 that ranges are measured on, for int8.

    Raises:
        OSError: It cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "model.onnx"
        onnx.write(model, example, source, dynamic)
        converted = openvino.convert_model(source)
        if precision == "int8":
            from moat_det.export.quantize import quantize

            converted = quantize(converted, calibration, onnx.nodes_below(source, "detector.model.head"))
    openvino.save_model(converted, file, compress_to_fp16=precision == "f16")
