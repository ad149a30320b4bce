"""OpenVINO's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openvino

from moat_det.errors import UserError
from moat_det.runtime.metadata import Metadata

# int8 graphs hold their own quantised operations; what is left of them is float32.
_HINTS = {"f32": "f32", "bf16": "bf16", "f16": "f16", "int8": "f32"}


class OpenVinoModel:
    """A compiled model on the CPU, in the precision that was compared with the checkpoint.

    OpenVINO takes bfloat16 by itself where the processor has it, so the precision is always given.

    Args:
        file: The .xml, whose .bin lies beside it.
        precision: "f32", "bf16", "f16" or "int8".
        threads: To compute with; None for all cores.

    Raises:
        UserError: OpenVINO cannot read the file.
    """

    def __init__(self, file: Path, precision: str, threads: int | None) -> None:
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": _HINTS[precision]}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            core = openvino.Core()
            self._model = core.compile_model(core.read_model(file), "CPU", settings)
        except Exception as error:  # of OpenVINO's own kinds
            raise UserError(f"{file}: OpenVINO cannot read it ({str(error).strip().splitlines()[0]})") from None

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Give the predictions (B, 4 + nc, A) float32 of images (B, C, H, W) uint8."""
        output: np.ndarray = self._model([images])[0]
        return output


def open_model(file: Path, metadata: Metadata, threads: int | None) -> OpenVinoModel:
    """Load a file; see `OpenVinoModel`."""
    return OpenVinoModel(file, metadata.precision, threads)
