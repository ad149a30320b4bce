"""A disk that is full when a training writes: it waits until there is room."""

from __future__ import annotations

import errno
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

_FULL = (errno.ENOSPC, errno.EDQUOT)
_LOOK = 5.0  # seconds between two looks at the disk
_SAY = 600.0  # seconds between two messages
LONGEST = 24 * 3600.0
"""Seconds that a training waits for room."""


def when_there_is_room(write: Callable[[], None], folder: Path, size: int) -> None:
    """Write; where the disk is full, wait for as much room as is needed, and write again.

    Args:
        write: Leaves what was there as it was where it fails.
        folder: Where.
        size: Bytes that it takes.

    Raises:
        OSError: It cannot be written: there is room, or there was none for a day.
    """
    while True:
        try:
            write()
            return
        except OSError as error:
            # Where the system has room and refuses, such as for a quota, waiting is of no use.
            if error.errno not in _FULL or _free(folder) >= size or not _wait(folder, size):
                raise


def _wait(folder: Path, size: int) -> bool:
    """Wait for room; gives whether there is."""
    began, said = time.monotonic(), float("-inf")
    while (now := time.monotonic()) - began < LONGEST:
        free = _free(folder)
        if free >= size:
            logger.warning(f"{folder}: there is room again, the training goes on")
            return True
        if now - said >= _SAY:
            said = now
            logger.warning(
                f"{folder}: the disk is full ({free / 1e6:.0f} MB free, {size / 1e6:.0f} MB needed); the training "
                "waits and goes on when there is room"
            )
        time.sleep(_LOOK)
    return False


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free
