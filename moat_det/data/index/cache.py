"""The index of a split on the disk, in the user's cache, so that unchanged files are not read again.

A file is known by its size, its inode and the times of its last change, of the content and of the entry; reading the
content itself takes as long as making the index. The time of the entry (ctime) sees what the other one does not: an
archive unpacked over a set, or a file put back with its old time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from moat_det.data.formats.annotation import Cleaning
from moat_det.data.images.header import read_header
from moat_det.data.index.split import ScanReport, SplitIndex
from moat_det.files import atomic_path
from moat_det.paths import user_cache

logger = logging.getLogger(__name__)

VERSION = 4
"""Counts up with every change of what is read from the files, or of how it is kept."""

# File systems keep times in steps of up to two seconds: a file that changed so lately may change once more unseen.
_SETTLED_SECONDS = 2.0
_ARRAYS = ("shapes", "starts", "classes", "boxes", "shares", "ignored")


def cache_file(*key: Any) -> Path:
    """Give the place of an index in the user's cache; `key`, plain types, is what it was asked for by."""
    digest = hashlib.blake2b(json.dumps(key).encode(), digest_size=12).hexdigest()
    return user_cache() / "index" / f"{digest}.npz"


def load_index(place: Path, listing: Sequence[str]) -> SplitIndex | None:
    """Load an index if the files that it was made from are as they were.

    Args:
        place: Where `save_index` put it.
        listing: The files that the split's sources list now.

    Returns:
        The index; None where there is none, where it is out of date, or where it is damaged, which is logged.
    """
    if not place.is_file():
        return None
    try:
        with np.load(place, allow_pickle=False) as kept:
            record = json.loads(kept["record"].tobytes())
            files = _unpack(kept["files"])
            if record["version"] != VERSION or record["listing"] != _digest(listing):
                return None
            if record["state"] != files_state(files)[0]:
                return None
            report = _report(record["report"])
            if any(_is_readable(path) for path, _ in report.unreadable):
                return None  # a share that was away, a permission that was missing
            arrays = {name: kept[name] for name in _ARRAYS}
            index = SplitIndex(record["formats"], _unpack(kept["paths"]), report=report, **arrays)
    except Exception as error:  # Parsers of broken files raise anything; the index is made anew.
        logger.info(f"{place}: damaged ({type(error).__name__}), the index is made anew")
        return None
    return index


def save_index(place: Path, index: SplitIndex, listing: Sequence[str], files: Sequence[str], started: float) -> None:
    """Keep an index, unless a file changed while it was made; what cannot be written is no error.

    Args:
        place: Where.
        index: The index.
        listing: The files that the split's sources list.
        files: Each file that it depends on; one that does not exist may come to exist.
        started: When the first of them was read, seconds since the epoch.
    """
    state, newest = files_state(files)
    if not is_settled(newest, started):
        return
    record = {
        "version": VERSION,
        "formats": index.formats,
        "listing": _digest(listing),
        "state": state,
        "report": asdict(index.report),
    }
    try:
        with atomic_path(place) as temporary, temporary.open("wb") as out:
            np.savez(
                out,
                record=np.frombuffer(json.dumps(record).encode(), np.uint8),
                files=_pack(files),
                paths=_pack(index.paths),
                **{name: getattr(index, name) for name in _ARRAYS},
            )
    except OSError as error:
        logger.info(f"{place}: the index is not kept ({error.strerror}); $MOAT_DET_CACHE names another folder")


def files_state(files: Iterable[str]) -> tuple[str, float]:
    """Give a digest of what the system knows of the files, and when the newest of them changed."""
    numbers = array("q")
    newest = 0
    for file in files:
        try:
            stat = os.stat(file)
        except (OSError, ValueError):  # not there; or no name that a file may have
            numbers.extend((-1, 0, 0, 0))
            continue
        numbers.extend((stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino & (2**63 - 1)))
        newest = max(newest, stat.st_mtime_ns if os.name == "nt" else stat.st_ctime_ns)
    return hashlib.blake2b(numbers.tobytes(), digest_size=16).hexdigest(), newest / 1e9


def is_settled(newest: float, started: float) -> bool:
    """Whether files whose newest change is `newest` did not change while they were read, from `started` on."""
    return newest < started - _SETTLED_SECONDS


def _report(fields: dict[str, Any]) -> ScanReport:
    pairs = {name: [tuple(pair) for pair in fields[name]] for name in ("unreadable", "wrong_sizes", "several")}
    return ScanReport(**{**fields, **pairs, "cleaning": Cleaning(**fields["cleaning"])})


def _is_readable(image: str) -> bool:
    try:
        read_header(image)
    except (OSError, ValueError):
        return False
    return True


def _digest(names: Iterable[str]) -> str:
    return hashlib.blake2b(_join(names), digest_size=16).hexdigest()


def _join(names: Iterable[str]) -> bytes:
    return "\0".join(names).encode("utf-8", "surrogateescape")


def _pack(names: Iterable[str]) -> np.ndarray:
    return np.frombuffer(_join(names), np.uint8)


def _unpack(packed: np.ndarray) -> list[str]:
    return packed.tobytes().decode("utf-8", "surrogateescape").split("\0")
