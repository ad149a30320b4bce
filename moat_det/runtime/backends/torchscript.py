"""TorchScript files, by torch."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch

from moat_det.errors import UserError
from moat_det.runtime.metadata import Metadata


class TorchScriptModel:
    """A module on the CPU.

    Args:
        file: The .torchscript.
        threads: To compute with; None leaves torch's as they are.

    Raises:
        UserError: torch cannot read the file.
    """

    def __init__(self, file: Path, threads: int | None) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # torch would rather have its own new format
                self._module = torch.jit.load(str(file), map_location="cpu").eval()
        except (RuntimeError, ValueError) as error:
            raise UserError(f"{file}: torch cannot read it ({str(error).strip().splitlines()[0]})") from None
        if threads is not None:
            torch.set_num_threads(threads)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Give the predictions (B, 4 + nc, A) float32 of images (B, C, H, W) uint8."""
        with torch.inference_mode():
            output: np.ndarray = self._module(torch.from_numpy(images)).numpy()
        return output


def open_model(file: Path, metadata: Metadata, threads: int | None) -> TorchScriptModel:
    """Load a file; see `TorchScriptModel`."""
    return TorchScriptModel(file, threads)
