"""The files that a source names, and where what is found in them is written below."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from moat_det.data.images.find import count_suffixes, find_files
from moat_det.data.images.header import count_pictures
from moat_det.detection.output_names import common_folder
from moat_det.errors import UserError

logger = logging.getLogger(__name__)


def source_root(source: str, files: list[str]) -> str | None:
    """Give the folder that the outputs of a source are named below.

    Args:
        source: See `list_files`.
        files: What it found.

    Returns:
        The folder that was named; of a pattern the folder before the first part that is one; else the folder that all
        files lie in or below.
    """
    if os.path.exists(source):
        return source if os.path.isdir(source) else common_folder(files)
    return str(next(folder for folder in Path(os.path.abspath(source)).parents if folder.is_dir()))


def list_files(source: str) -> tuple[list[str], list[str]]:
    """Find the images and the videos of a file, a folder, a pattern, or a list, by the rules that datasets have too.

    Returns:
        Absolute paths of the images, and of the videos. What else is there is logged.

    Raises:
        FileNotFoundError: There is no such file.
        UserError: A list is no text.
    """
    found = find_files(source)
    if found.left_out:
        logger.warning(f"{source}: left out, since they are no images: {found.left_out}")
    return found.images, found.videos


def list_pictures(source: str, option: str = "--source", why: str = "they are videos") -> list[str]:
    """Find the images of a source, as `list_files` does, for what looks at pictures alone.

    Args:
        source: See `list_files`.
        option: That names it.
        why: Videos are left out.

    Returns:
        Absolute paths.

    Raises:
        UserError: There is no such file, or no image.
    """
    try:
        images, videos = list_files(source) if source.strip() else ([], [])  # else it is the working directory
    except FileNotFoundError:
        raise UserError(f"{option} {source}: no such folder, list of images or image, and no pattern of any") from None
    if videos:
        logger.warning(f"{source}: left out, since {why}: {count_suffixes(videos)}")
    if not images:
        raise UserError(f"{option} {source}: no images in it; give an image, a folder, a pattern or a list of images")
    return images


def tell_pictures(file: str | Path, channels: int) -> None:
    """Say where a file holds more pictures than the one that is read; of bands they are the bands."""
    if channels in {1, 3} and (number := count_pictures(file)) > 1:
        logger.warning(
            f"{file}: holds {number} pictures, of which only the first is looked at; save each as its own file"
        )
