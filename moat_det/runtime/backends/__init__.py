"""What runs an exported file: a module for each format, imported when a file of it is opened."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np

import moat_det.runtime.backends.silence  # noqa: F401  # before any of them
from moat_det.errors import UserError
from moat_det.messages import suggest
from moat_det.runtime.metadata import Metadata

_PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino", "torchscript": "torch"}

FORMATS = tuple(_PACKAGES)


class Backend(Protocol):
    """A model that is loaded."""

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Give the predictions (B, 4 + nc, A) float32 of images (B, C, H, W) uint8."""


def open_backend(folder: Path, metadata: Metadata, threads: int | None) -> Backend:
    """Load the model of an artefact.

    Args:
        folder: That holds it.
        metadata: Its own.
        threads: To compute with; None for all cores.

    Raises:
        UserError: The package that runs it is not installed, the format is unknown, or the file is damaged.
    """
    if metadata.format not in FORMATS:
        raise UserError(f"{folder}: its format {metadata.format} is unknown here{suggest(metadata.format, FORMATS)}")
    try:
        module = import_module(f"moat_det.runtime.backends.{metadata.format}")
    except ModuleNotFoundError as error:
        if error.name not in _PACKAGES.values():
            raise
        extra = "" if metadata.format == "torchscript" else f", or pip install 'moat_det[{metadata.format}]'"
        raise UserError(
            f"{folder} needs the package {error.name}, which is not installed: pip install {error.name}{extra}"
        ) from None
    backend: Backend = module.open_model(folder / metadata.file, metadata, threads)
    return backend
