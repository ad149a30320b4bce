"""The scaled images of a split in the user's cache: one file of pixels that is mapped into memory, one index beside it.

It is made anew when an image changed (as `data/index/cache.py` tells it), when it is damaged, or when another size,
intensity or number of channels is asked for.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import numpy as np

from moat_det.cores import READING_THREADS
from moat_det.data.index.cache import files_state, is_settled
from moat_det.files import atomic_path, locked
from moat_det.paths import user_cache
from moat_det.progress import progress

logger = logging.getLogger(__name__)

VERSION = 2
"""Counts up with every change of how images are read or scaled, or of how they are kept."""

_AT_ONCE = 64  # images in memory while the cache is made
_MARGIN = 1.05

Image = tuple[np.ndarray, tuple[int, int]]
"""A scaled image (H, W, C) uint8, and its height and width in the file."""


class ImageCache:
    """Images that are read from a memory map.

    Args:
        data: The file of pixels, one image after the other.
        starts: (N + 1,), where each image begins, in bytes; images that could not be read have none.
        shapes: (N, 3), height, width and channels.
        sizes: (N, 2), height and width in the image's own file.

    Raises:
        OSError: The file of pixels is gone.
    """

    def __init__(self, data: Path, starts: np.ndarray, shapes: np.ndarray, sizes: np.ndarray) -> None:
        self._data, self._starts, self._shapes, self._sizes = data, starts, shapes, sizes
        self._state = _data_state(data)
        self._pixels = self._map()

    def get(self, index: int) -> Image | None:
        """Give an image, which is the caller's to change; None where the cache has none."""
        start, end = self._starts[index], self._starts[index + 1]
        if start == end or self._pixels is None:
            return None
        height, width = self._sizes[index].tolist()
        return np.array(self._pixels[start:end]).reshape(self._shapes[index]), (height, width)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the pixels out: a worker that is no fork maps the file itself."""
        return {name: value for name, value in self.__dict__.items() if name != "_pixels"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Map the file again; where it was deleted or made anew meanwhile, the images are read from their own files."""
        self.__dict__.update(state)
        try:
            self._pixels = self._map() if _data_state(self._data) == self._state else None
        except OSError:
            self._pixels = None

    def _map(self) -> np.ndarray | None:
        return np.memmap(self._data, np.uint8, "r") if self._starts[-1] else None


def open_image_cache(
    files: Sequence[str],
    targets: np.ndarray,
    channels: int,
    settings: Any,
    read: Callable[[int], Image],
    prefix: str = "",
) -> ImageCache | None:
    """Open the cache of a split, and make it where there is none or it is out of date.

    Args:
        files: The images.
        targets: (N, 2), their heights and widths after scaling.
        channels: Of the scaled images, at most.
        settings: Plain types: whatever else `read` depends on.
        read: Gives the image of an index; may be called in threads, and raise `OSError`.
        prefix: Of the lines in the log.

    Returns:
        The cache; None where it cannot be kept (no space, no permission), which is logged.
    """
    digest = hashlib.blake2b(json.dumps([list(files), targets.tolist(), channels, settings]).encode(), digest_size=12)
    place = user_cache() / "images" / f"{digest.hexdigest()}.npz"
    needed = int(targets.prod(axis=1).sum()) * channels
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        message = f"{prefix}another process makes the cache of these images; waiting for it"
        with locked(place.with_suffix(".lock"), message):
            cache = _load(place, files)
            if cache is None:
                free = shutil.disk_usage(place.parent).free
                if free < needed * _MARGIN:
                    raise OSError(errno.ENOSPC, f"it needs {_gigabytes(needed)}, {_gigabytes(free)} are free")
                _make(place, files, read, f"{prefix}caching images (up to {_gigabytes(needed)} on the disk)")
                cache = _load(place, files, fresh=True)
    except OSError as error:
        logger.warning(
            f"{prefix}no images are cached in {place.parent}: {error.strerror or error}; $MOAT_DET_CACHE names another "
            "folder"
        )
        return None
    data = place.with_suffix(".pixels")
    logger.info(f"{prefix}cached images: {data}, {_gigabytes(data.stat().st_size)}")
    return cache


def _load(place: Path, files: Sequence[str], fresh: bool = False) -> ImageCache | None:
    data = place.with_suffix(".pixels")
    if not place.is_file():
        return None
    try:
        with np.load(place, allow_pickle=False) as kept:
            record = json.loads(kept["record"].tobytes())
            if record["version"] != VERSION or record["data"] != _data_state(data):
                return None
            if not fresh and record["files"] != files_state(files)[0]:
                return None
            return ImageCache(data, kept["starts"], kept["shapes"], kept["sizes"])
    except Exception as error:  # Parsers of broken files raise anything; the cache is made anew.
        logger.info(f"{place}: damaged ({type(error).__name__}), the images are cached anew")
        return None


def _make(place: Path, files: Sequence[str], read: Callable[[int], Image], description: str) -> None:
    def read_or_leave_out(index: int) -> Image | None:
        try:
            return read(index)
        except OSError:  # it is read again, and reported, when the training comes to it
            return None

    started = time.time()
    starts, shapes, sizes = [0], [], []
    place.unlink(missing_ok=True)  # so that no index ever stands beside the pixels of another
    data = place.with_suffix(".pixels")
    with (
        atomic_path(data) as temporary,
        temporary.open("wb") as out,
        ThreadPool(READING_THREADS) as pool,
        progress(total=len(files), text=description) as bar,
    ):
        for first in range(0, len(files), _AT_ONCE):
            for item in pool.map(read_or_leave_out, range(first, min(first + _AT_ONCE, len(files)))):
                pixels, size = item or (np.zeros((0, 0, 0), np.uint8), (0, 0))
                out.write(pixels.tobytes())
                starts.append(starts[-1] + pixels.nbytes)
                shapes.append(pixels.shape)
                sizes.append(size)
                bar.update()
    state, newest = files_state(files)
    # A file that changed a moment ago may change once more unseen: such a cache serves this run alone.
    record = {
        "version": VERSION,
        "files": state if is_settled(newest, started) else None,
        "data": _data_state(data),
    }
    with atomic_path(place) as temporary, temporary.open("wb") as out:
        np.savez(
            out,
            record=np.frombuffer(json.dumps(record).encode(), np.uint8),
            starts=np.array(starts),
            shapes=np.array(shapes),
            sizes=np.array(sizes),
        )


def _data_state(data: Path) -> list[int]:
    stat = os.stat(data)
    return [stat.st_size, stat.st_mtime_ns]


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
