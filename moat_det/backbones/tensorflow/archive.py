"""Takes the one checkpoint out of a tar, compressed with gzip or not, without trusting it.

Only the content of regular files is taken, to files that we name ourselves: no path, link or device of the archive is
honoured. The archive is read once, forwards, because the data may come before the index.
"""

from __future__ import annotations

import gzip
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from moat_det.backbones.tensorflow.errors import Fault

# Weights hardly compress (the golden ones 2.2 times): what unpacks to far more is a bomb.
_MAX_UNPACKED = 8 << 30
_MAX_RATIO = 32
_FREE = 16 << 20  # bytes that any archive may unpack to
_PIECE = 1 << 18
# An archive of one checkpoint has a handful of headers. tarfile holds extended ones in memory and, in older Pythons
# (CVE-2024-6232), takes a time that grows with their square.
_MAX_HEADER = 1 << 12
_MAX_HEADERS = 1 << 18  # all of them

_FILE = re.compile(r"(?P<prefix>(?:.*/)?[^./][^/]*)(?P<kind>\.index|\.data-\d{5}-of-\d{5})", re.DOTALL)


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack the checkpoint in a tar.

    Args:
        archive: The tar, which may be compressed with gzip.
        folder: An empty private folder.

    Returns:
        The checkpoint's index, in `folder`; its data files lie beside it.

    Raises:
        Fault: The archive is damaged, holds no checkpoint or several, or unpacks to far too much.
        OSError: The archive cannot be read or `folder` not be written.
    """
    with archive.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
        size = file.seek(0, 2)
        file.seek(0)
        limit = min(_MAX_UNPACKED, _FREE + _MAX_RATIO * size)
        members = _unpack_members(_Stream(gzip.GzipFile(fileobj=file) if compressed else file, limit), folder)

    prefixes = sorted(prefix for prefix, kind in members if kind == ".index")
    if not prefixes:
        raise Fault("the archive holds no .index file", "give the archive of a TensorFlow V2 checkpoint")
    if len(prefixes) > 1:
        names = ", ".join(map(repr, prefixes))
        raise Fault(f"the archive holds {len(prefixes)} checkpoints ({names})", "unpack it and give the path of one")
    for (prefix, kind), path in members.items():
        if prefix == prefixes[0]:
            path.rename(folder / f"checkpoint{kind}")
    return folder / "checkpoint.index"


def _unpack_members(stream: _Stream, folder: Path) -> dict[tuple[str, str], Path]:
    """Unpack all that looks like a checkpoint's: (prefix, ".index" or ".data-...") to the file unpacked."""
    members: dict[tuple[str, str], Path] = {}
    for member in _headers(stream):
        match = _FILE.fullmatch(member.name)
        if not match or member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
            continue
        key = match["prefix"], match["kind"]
        if key in members:
            raise Fault(f"the archive holds {member.name!r} twice")
        members[key] = folder / str(len(members))
        stream.seek(member.offset_data)
        with members[key].open("wb") as file:
            stream.copy(member.size, file)
    stream.drain()
    return members


def _headers(stream: _Stream) -> Iterator[tarfile.TarInfo]:
    """Give the headers of a tar."""
    try:
        tar = tarfile.TarFile(fileobj=stream)  # type: ignore[arg-type]
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # else it keeps every header
            yield member
    except (tarfile.TarError, ValueError, RecursionError) as error:  # what tarfile lets out
        raise Fault(f"not a tar archive, nor one compressed with gzip, or damaged ({error})") from None


class _Stream:
    """A file for tarfile, read once, forwards and up to a limit; what tarfile itself reads are headers.

    Args:
        file: The tar, decompressed as it is read.
        limit: The most bytes that it may have.
    """

    def __init__(self, file: IO[bytes] | gzip.GzipFile, limit: int) -> None:
        self._file = file
        self._limit = limit
        self._position = 0
        self._headers = 0  # bytes of headers read

    def tell(self) -> int:
        """Give how many bytes have been read."""
        return self._position

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes of headers; fewer only at the end."""
        self._headers += size
        if not 0 <= size <= _MAX_HEADER or self._headers > _MAX_HEADERS:
            raise Fault("the archive has too many or too large headers", "give the archive of one checkpoint alone")
        return self._take(size)

    def seek(self, position: int) -> None:
        """Skip to `position`, which may not lie behind."""
        self.copy(position - self._position)

    def copy(self, size: int, target: IO[bytes] | None = None) -> None:
        """Read `size` bytes, and write them to `target`."""
        if size < 0:
            raise Fault("the archive points backwards")
        while size > 0:
            data = self._take(min(size, _PIECE))
            if not data:
                raise Fault("the archive is cut short")
            if target is not None:
                target.write(data)
            size -= len(data)

    def drain(self) -> None:
        """Read to the end, where gzip has its checksum."""
        while self._take(_PIECE):
            pass

    def _take(self, size: int) -> bytes:
        try:
            data = self._file.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise Fault(f"damaged or cut short ({error})") from None
        self._position += len(data)
        if self._position > self._limit:
            raise Fault(f"the archive unpacks to more than {self._limit} bytes", "is it a checkpoint at all?")
        return data
