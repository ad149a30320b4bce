"""The pass of an exported file in its runtime. Torch is imported for its own format alone: its memory would count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import moat_det.runtime.backends.silence  # noqa: F401  # before openvino


def runtime_pass(file: Path, format: str, precision: str, shape: Sequence[int], threads: int) -> Callable[[], object]:
    """Load a file, and return a function that runs the pass: bytes to decoded boxes and scores.

    Args:
        file: What `exports` wrote.
        format: Of it.
        precision: As the formats call it: "f32", "bf16" or "int8".
        shape: Of the images, (B, C, H, W).
        threads: To compute with.
    """
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    model = _open(file, format, precision, threads)
    return lambda: model(images)


def _open(file: Path, format: str, precision: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    if format == "onnx":
        from moat_det.runtime.backends.onnx import OnnxModel

        return OnnxModel(file, threads)
    if format == "openvino":
        from moat_det.runtime.backends.openvino import OpenVinoModel

        return OpenVinoModel(file, precision, threads)
    from moat_det.runtime.backends.torchscript import TorchScriptModel

    return TorchScriptModel(file, threads)
