"""Opening what `moat export` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from moat_det.data.sizes.shape import Shape
from moat_det.errors import UserError
from moat_det.runtime.backends import open_backend
from moat_det.runtime.detector import RuntimeDetector
from moat_det.runtime.digests import check_digests
from moat_det.runtime.metadata import Metadata

SUFFIXES = (".onnx", ".xml", ".bin", ".torchscript")
"""Of the files that an artefact may be named by."""


def is_artefact(path: str | Path) -> bool:
    """Whether a path, which need not exist, names what `moat export` writes rather than a checkpoint."""
    path = Path(path)
    return path.is_dir() or path.suffix.lower() in SUFFIXES


def load(
    path: str | Path,
    *,
    imgsz: int | Shape | Literal["native"] | None = None,
    max_pixels: int | None = None,
    threads: int | None = None,
) -> RuntimeDetector:
    """Load an exported detector.

    Args:
        path: The folder that `moat export` wrote, or the model's file in it.
        imgsz: Of a file whose inputs may vary in size: the longer side that images are scaled to, or height and width,
            or "native" for each image's own size; None for that of the training.
        max_pixels: With "native", images of more pixels are scaled down to as many.
        threads: To compute with; None for all cores.

    Raises:
        UserError: There is no such artefact, it is not complete, was changed or damaged, or its runtime is not
            installed.
    """
    folder, metadata, digest = identify(path)
    sizes = metadata.sizes(imgsz, max_pixels)
    return RuntimeDetector(open_backend(folder, metadata, threads), metadata, sizes, digest)


def identify(path: str | Path) -> tuple[Path, Metadata, str]:
    """Find out what an exported detector is, before it is loaded.

    Args:
        path: As `load` takes it.

    Returns:
        Its folder, its facts, and the digest that its operating points are of.

    Raises:
        UserError: There is no such artefact, or it is not complete, was changed or damaged.
    """
    given = Path(path).expanduser()
    if not given.exists():
        raise UserError(f"no exported model at {given}: give the folder that `moat export` wrote")
    folder = given if given.is_dir() else given.parent
    metadata = Metadata.read(folder)
    if not given.is_dir() and given.stem != Path(metadata.file).stem:
        raise UserError(f"{given} is not the model of its folder, which is {metadata.file}: give that, or the folder")
    return folder, metadata, check_digests(folder)
