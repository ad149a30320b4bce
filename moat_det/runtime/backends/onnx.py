"""ONNX files, by onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from moat_det.errors import UserError
from moat_det.runtime.metadata import Metadata


class OnnxModel:
    """A session on the CPU.

    Args:
        file: The .onnx.
        threads: To compute with; None for all cores.

    Raises:
        UserError: onnxruntime cannot read the file.
    """

    def __init__(self, file: Path, threads: int | None) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # of onnxruntime's own kinds, one for each way of being damaged
            raise UserError(f"{file}: onnxruntime cannot read it ({str(error).splitlines()[0]})") from None
        self._input = self._session.get_inputs()[0].name

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Give the predictions (B, 4 + nc, A) float32 of images (B, C, H, W) uint8."""
        output: np.ndarray = self._session.run(None, {self._input: images})[0]
        return output


def open_model(file: Path, metadata: Metadata, threads: int | None) -> OnnxModel:
    """Load a file; see `OnnxModel`."""
    return OnnxModel(file, threads)
