"""A disk that is full when a training writes: it waits until there is room."""

from __future__ import annotations

import errno
import logging
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from moat_det.engine.distributed.group import TIMEOUT, Group

logger = logging.getLogger(__name__)

_FULL = (errno.ENOSPC, errno.EDQUOT)
_LOOK = 5.0  # seconds between two looks at the disk
_REFUSALS = 3  # of a disk that has room: as often others may have filled it and given the room back
_SAY = 600.0  # seconds between two messages
LONGEST = 24 * 3600.0
"""Seconds that a training waits for room."""

_LONGEST_TOGETHER = TIMEOUT.total_seconds() * 2 / 3  # the first one's own work after an epoch takes a part of it too


def longest_wait(group: Group) -> float:
    """Give the seconds that the first of several processes may wait for room: the others give it up after `TIMEOUT`."""
    return LONGEST if group.size == 1 else _LONGEST_TOGETHER


def when_there_is_room(write: Callable[[], None], folder: Path, size: int, longest: float = LONGEST) -> None:
    """Write; where the disk is full, wait for as much room as is needed, and write again.

    Args:
        write: Leaves what was there as it was where it fails.
        folder: Where.
        size: Bytes that it takes, or somewhat more.
        longest: Seconds to wait at most; with 0 it ends at once.

    Raises:
        OSError: It cannot be written: there is room, or there was none for too long.
    """
    refused = 0
    while True:
        try:
            write()
            return
        except OSError as error:
            has_room = _free(folder) >= size
            refused += has_room
            # Where the system has room and refuses all the same, such as for a quota, waiting is of no use.
            if error.errno not in _FULL or not longest or refused > _REFUSALS:
                raise
            if has_room:
                time.sleep(_LOOK)
            elif not _wait(folder, size, longest):
                raise


def _wait(folder: Path, size: int, longest: float) -> bool:
    """Wait for room; gives whether there is."""
    began, said = time.monotonic(), float("-inf")
    while (now := time.monotonic()) - began < longest:
        free = _free(folder)
        if free >= size:
            logger.warning(f"{folder}: there is room again, the training goes on")
            return True
        if now - said >= _SAY:
            said = now
            logger.warning(
                f"{folder}: the disk is full ({free // 10**6} MB free, {math.ceil(size / 1e6)} MB needed); the "
                "training waits and goes on when there is room"
            )
        time.sleep(_LOOK)
    return False


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free
