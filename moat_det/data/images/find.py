"""Finding the image files that a folder, a list or a path names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from moat_det.data.images.suffixes import ARRAY_SUFFIX, IMAGE_SUFFIXES
from moat_det.errors import UserError


def find_images(source: str | Path | Iterable[str | Path]) -> list[Path]:
    """Give `list_images` as paths."""
    return [Path(name) for name in list_images(source)]


def list_images(source: str | Path | Iterable[str | Path]) -> list[str]:
    """Find the images that a split of a dataset names.

    Args:
        source: A folder, searched with its sub-folders but without hidden files; a text file with one image
            per line, absolute or relative to the text file's folder; an image; or several of these.

    Returns:
        The images, absolute, each once, sorted by their full path. What a text file names need not exist.

    Raises:
        UserError: `source` does not exist, is no text, or holds no image.
    """
    sources = [source] if isinstance(source, (str, Path)) else list(source)
    found: set[str] = set()
    for item in sources:
        path = Path(os.path.abspath(item))
        if path.is_dir():
            images = [file for file in walk(path) if is_image(file)]
        elif not path.is_file():
            raise UserError(f"{path}: no such folder or list of images; correct the path in the dataset YAML")
        elif is_image(path):
            images = [str(path)]
        else:
            # Arrays count where they are named: those in a folder may be anything, such as the engine's caches.
            images = [line for line in _read_list(path) if is_image(line) or line.lower().endswith(ARRAY_SUFFIX)]
        if not images:
            formats = ", ".join(sorted(IMAGE_SUFFIXES))
            raise UserError(f"{path}: no images in it; put files there that end in one of {formats}")
        found.update(images)
    return sorted(found)


def is_image(path: str | Path) -> bool:
    """Whether a file's name ends as that of an image."""
    return os.path.splitext(path)[1][1:].lower() in IMAGE_SUFFIXES


def walk(folder: str | Path) -> Iterator[str]:
    """Give the files in a folder and its sub-folders, without hidden ones; links are followed, but not in circles."""
    visited = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in visited:  # a link that leads back up
            folders.clear()
            continue
        visited.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (os.path.join(root, name) for name in files if not name.startswith("."))


def _read_list(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: neither an image nor a UTF-8 list of image paths; correct the path") from error
    return [os.path.normpath(path.parent / line.strip()) for line in lines if line.strip()]
