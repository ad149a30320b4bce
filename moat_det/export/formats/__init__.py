"""A module for each format, with `write(...)`, imported when a file of it is written."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from moat_det.errors import UserError
from moat_det.export.calibration import Calibration
from moat_det.export.graph import Predictions


@dataclass(frozen=True)
class Format:
    """What a format can do.

    Attributes:
        suffix: Of its file.
        precisions: In which it can be written.
        dynamic: Whether inputs may vary in size.
    """

    suffix: str
    precisions: tuple[str, ...] = ("f32",)
    dynamic: bool = True


FORMATS = {
    "onnx": Format(".onnx"),
    "openvino": Format(".xml", ("f32", "bf16", "f16", "int8")),
    "torchscript": Format(".torchscript", dynamic=False),
}

REFUSED = {
    "tensorrt": "an engine of TensorRT is built on the machine that runs it: take onnx, and there trtexec --onnx=FILE",
    "ncnn": "its converter does not know the six axes of attention windows: take openvino, or onnx",
    "mnn": "its converter installs a package and reports to its maker: take openvino, or onnx",
    "coreml": "it runs on a Mac alone, so it cannot be compared here: take torchscript, and there coremltools",
    "tflite": "no file of it was seen to give the checkpoint's boxes: take openvino, or onnx",
}
"""Formats of the engine that are not written, and why."""

_EXTRAS = {"onnx": "onnx", "onnxscript": "onnx", "onnxruntime": "onnx", "openvino": "openvino", "nncf": "int8"}


def check_installed(format: str, what: str) -> None:
    """Raise `UserError` where a package is missing that writes or runs a format.

    Args:
        format: A key of `FORMATS`.
        what: Needs it, for the message.
    """
    for package, extra in _EXTRAS.items():
        if extra == format and find_spec(package) is None:
            raise UserError(
                f"{what} needs the package {package}, which is not installed: pip install 'moat_det[{extra}]'"
            )


def write(
    format: str,
    model: Predictions,
    example: Tensor,
    file: Path,
    *,
    precision: str = "f32",
    calibration: Calibration | None = None,
) -> None:
    """Write a detector to a file, without comparing it.

    Args:
        format: A key of `FORMATS`.
        model: What is exported.
        example: See `graph.trace`.
        file: With the format's suffix.
        precision: One of the format's.
        calibration: For int8.

    Raises:
        UserError: A package is not installed.
        OSError: The file cannot be written.
    """
    try:
        module = import_module(f"{__name__}.{format}")
        if format == "openvino":
            module.write(model, example, file, precision, calibration)
        else:
            module.write(model, example, file)
    except ModuleNotFoundError as error:
        if error.name not in _EXTRAS:
            raise
        raise UserError(
            f"--format {format}{' --precision int8' if error.name == 'nncf' else ''} needs the package {error.name}: "
            f"pip install 'moat_det[{_EXTRAS[error.name]}]'"
        ) from None
