"""The pictures without labels that a backbone learns from."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np

from moat_det.cores import READING_THREADS
from moat_det.data.images.choose_intensity import check_intensity, choose_intensity
from moat_det.data.images.header import ImageHeader, large_images, read_header
from moat_det.data.images.intensity import Intensity
from moat_det.detection.output_names import OutputNames
from moat_det.detection.source_files import list_pictures, source_root
from moat_det.errors import UserError
from moat_det.messages import some
from moat_det.progress import progress

logger = logging.getLogger(__name__)

_SHOWN = 5
_CHUNK = 32


@dataclass(frozen=True)
class Pictures:
    """Readable pictures of a source.

    Attributes:
        paths: Absolute, sorted.
        names: The same below the source.
        shapes: Height and width of each, (N, 2).
        channels: Bands that they are read as.
        intensity: How more than 8 bits become 8.
    """

    paths: list[str]
    names: list[str]
    shapes: np.ndarray
    channels: int
    intensity: Intensity


def find_pictures(source: str, channels: int, intensity: Intensity, size: int = 0) -> Pictures:
    """Find the pictures of a source and read their headers; those that cannot be read are named and left out.

    Args:
        source: A folder, a pattern, a list or a picture.
        channels: Bands of the backbone's input.
        intensity: What the user says of more than 8 bits; "auto" gets the range of these pictures.
        size: Side of the squares that will be cut out; how many pictures are smaller is said.

    Raises:
        UserError: There is no picture, or none that can be read.
    """
    files = list(dict.fromkeys(list_pictures(source)))
    with large_images(), ThreadPool(READING_THREADS) as pool:
        headers = list(progress(pool.imap(_read, files, chunksize=_CHUNK), "looking at pictures", len(files)))
    broken = [f"{file} ({found})" for file, found in zip(files, headers, strict=True) if isinstance(found, str)]
    found = [(file, header) for file, header in zip(files, headers, strict=True) if isinstance(header, ImageHeader)]
    if not found:
        raise UserError(f"--source {source}: none of its {len(files)} pictures can be read, the first is {broken[0]}")
    if broken:
        logger.warning(
            f"{len(broken)} of {len(files)} pictures cannot be read and are left out: {some(broken, _SHOWN)}"
        )
    several = [file for file, header in found if header.pictures > 1 and channels in {1, 3}]
    if several:
        logger.warning(
            f"{len(several)} files hold more than one picture, of which the first is taken: {several[0]}, ..."
        )
    paths = [file for file, _ in found]
    intensity = choose_intensity(intensity, [Path(path) for path in paths], channels)
    check_intensity(intensity, paths, sum(header.deep for _, header in found), channels)
    shapes = np.array([(each.height, each.width) for _, each in found])
    small = int((shapes.min(1) < size).sum())
    logger.info(f"{len(paths)} pictures" + (f", {small} smaller than {size} px: they go on mirrored" if small else ""))
    names = OutputNames(source_root(source, paths))
    return Pictures(paths, [names.relative(path) for path in paths], shapes, channels, intensity)


def _read(file: str) -> ImageHeader | str:
    try:
        return read_header(file)
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:  # no name that a file may have
        return str(error)
