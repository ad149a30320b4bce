"""OpenVINO, from the ONNX file: its own front end for PyTorch does not know all of our operations."""

from __future__ import annotations

import tempfile
from pathlib import Path

import openvino
from torch import Tensor

from moat_det.export.calibration import Calibration
from moat_det.export.formats import onnx
from moat_det.export.graph import Predictions, quiet

_STEM = 2  # convolutions at the start that INT8 leaves float


def write(model: Predictions, example: Tensor, file: Path, precision: str, calibration: Calibration | None) -> None:
    """Write the file and its weights beside it.

    Args:
        model: What is exported.
        example: See `graph.trace`.
        file: The .xml.
        precision: "f32" and "bf16" are one file, which is run in one or the other; "f16" halves the weights; "int8"
            quantises.
        calibration: For int8.

    Raises:
        OSError: It cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "model.onnx"
        onnx.write(model, example, source)
        # convert_model would compute the position bias of all pairs of cells: 300 MB at 640 px.
        converted = openvino.Core().read_model(source)
        if precision == "int8":
            with quiet():  # nncf imports what looks for a CUDA compiler
                from moat_det.export.quantize import quantize
            assert calibration is not None
            *_, head = (name for name, _ in model.detector.model.named_children())  # of the engine's models a number
            ends = [*onnx.first_convolutions(source, _STEM), *onnx.nodes_below(source, f"detector.model.{head}")]
            converted = quantize(converted, calibration, ends)
        openvino.save_model(converted, file, compress_to_fp16=precision == "f16")
