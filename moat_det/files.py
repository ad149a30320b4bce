"""Atomic writing: a file is either the old one or the whole new one, never a part; names for files; locks."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import logging
import os
import re
import shutil
import stat
import tempfile
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from moat_det.errors import UserError

logger = logging.getLogger(__name__)

_PROBE = 1 << 20  # bytes: more than the rest of the disk that a failed write can leave
_LONGEST_NAME = 150  # bytes; file systems take 255, of which a number, a suffix and a temporary name need some
_FORBIDDEN = frozenset('<>:"/\\|?*%')  # by Windows; the last one is our own mark
_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}  # controls, halves of characters, breaks of lines
# Windows takes these for devices, with any suffix.
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])[ ]*(\.|$)", re.IGNORECASE)


def one_name(text: str) -> str:
    """Make the name of one file or folder of any text, such as the name of a class; it is no path anywhere.

    A usual text stays as it is. Of any other, what a file system refuses or reads in a way of its own is written as in
    a URL, `%` and the bytes in hexadecimal, and a long one is cut and ends in a digest: different texts give different
    names. `distinct_names` is for those that differ in case only.
    """
    if not text:
        return "%"
    last = len(text) - 1
    device = bool(_DEVICE.match(text))
    name = "".join(
        _escaped(char)
        if char in _FORBIDDEN
        or unicodedata.category(char) in _UNPRINTABLE
        or (char in ". " and index in {0, last})
        or (index == 0 and device)
        else char
        for index, char in enumerate(text)
    )
    encoded = name.encode()
    if len(encoded) <= _LONGEST_NAME:
        return name
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
    # What is cut through at the end, a character or its hexadecimal form, is left out.
    return re.sub("%[0-9A-F]?$", "", encoded[: _LONGEST_NAME - 30].decode("utf-8", "ignore")) + f"%_{digest}"


def distinct_names(texts: Sequence[str]) -> list[str]:
    """Make `one_name` of each text, and of those that a file system may take for the same one, names that differ."""
    names: list[str] = []
    taken: set[str] = set()
    for number, text in enumerate(texts):
        name = one_name(text)
        if folded(name) in taken:
            name += f"%={number}"
        taken.add(folded(name))
        names.append(name)
    return names


def _escaped(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))


def folded(name: str) -> str:
    """Give what file systems compare that tell neither case nor composed characters apart."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def check_is_file(path: str | Path) -> None:
    """Raise `OSError` for what would never end, or wait for ever, when it is read: a pipe, a device, a socket.

    Of a path that leads nowhere the system's own error is raised; a folder is left to who opens it.
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device, and no file", str(path))


def check_writable(folder: str | Path) -> None:
    """Raise `OSError` where no file can be written in `folder`, which is made when it is missing."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def check_readable(path: Path, missing: str) -> None:
    """Raise `UserError` where there is no file at `path`, in the words of `missing`, or one that we may not read."""
    try:
        if not path.is_file():
            raise UserError(missing)
        with path.open("rb"):
            pass
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error


def is_whole_archive(path: str | Path) -> bool:
    """Whether a file is a ZIP archive of which each part has its checksum; torch writes such, and compares none.

    Raises:
        OSError: It cannot be opened.
    """
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return archive.testzip() is None
        except Exception:  # what a damaged archive makes zipfile raise is of every kind
            return False


@contextmanager
def naming(place: str | Path) -> Iterator[None]:
    """Let an `OSError` of the block that names no file, such as that of a full disk, name `place`."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(place)) from error


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`; rename it over `path` when the block ends well.

    The file is flushed to the disk before the rename. When the block raises (a full disk, a killed process), `path` is
    as it was and the temporary file is removed if the process still can.

    Args:
        path: The file to write. Its folder is made when it is missing.

    Yields:
        The temporary path to write to; it keeps the suffix of `path`.

    Raises:
        OSError: The folder or the file cannot be written; it names `path`, and the system's reason, whichever library
            wrote.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=_prefix(path), suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        _share(temporary, 0o666)
        temporary.replace(path)
    except Exception as error:
        if reason := _why_not(temporary, error):
            raise OSError(reason.errno, reason.strerror, str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def remove_half_written(path: str | Path) -> None:
    """Remove what processes that were killed amid `atomic_path(path)` left; no other may be writing it now."""
    path = Path(path)
    named = re.compile(re.escape(_prefix(path)) + "[a-z0-9_]{8}" + re.escape(path.suffix))  # by tempfile
    for file in path.parent.glob(".*") if path.parent.is_dir() else ():
        if named.fullmatch(file.name):
            file.unlink(missing_ok=True)


def _prefix(path: Path) -> str:
    return f".{path.stem[:40]}-"


def _why_not(file: Path, error: Exception) -> OSError | None:
    """Give the system's reason for a write to `file` that ended in `error`; None where the system has no part in it.

    Libraries lose it (torch says "unexpected pos" of a full disk), so the system is asked once more.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error if error.filename is None or Path(str(error.filename)) == file else None
    try:
        with file.open("ab") as again:
            again.write(bytes(_PROBE))
            again.flush()
            os.fsync(again.fileno())
    except OSError as reason:
        return reason
    return None


def claim_folder(path: str | Path, exist_ok: bool = False) -> Path:
    """Make a folder that no other process has: `path`, or the first of `path`-2, `path`-3, ... that is not there.

    Args:
        path: The folder; those above it are made when they are missing.
        exist_ok: Take `path` also where it is there.

    Returns:
        The folder, absolute and without links.

    Raises:
        OSError: It cannot be made.
    """
    path = Path(path).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    if exist_ok:
        path.mkdir(exist_ok=True)
        return path
    for number in count(1):
        folder = path if number == 1 else path.with_name(f"{path.name}-{number}")
        with suppress(FileExistsError):
            folder.mkdir()  # which one process alone can do
            return folder
    raise AssertionError("there is always a next number")


def atomic_write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` to `path` atomically; raises `OSError` as `atomic_path` does."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def atomic_write_text(path: str | Path, content: str) -> None:
    """Write `content` to `path` as UTF-8, atomically; raises `OSError` as `atomic_path` does.

    Of file names that are no UTF-8 the bytes that are none become text as in JSON, `udcfc` after a backslash for 0xFC.
    """
    atomic_write_bytes(path, content.encode("utf-8", "backslashreplace"))


def atomic_write_json(path: str | Path, content: Any, indent: int | None = None) -> None:
    """Write `content` to `path` as JSON, atomically.

    Raises:
        OSError: As `atomic_path` does.
        ValueError: `content` holds NaN or an infinity, which JSON cannot hold.
    """
    atomic_write_text(path, json.dumps(content, indent=indent, allow_nan=False))


def sha256(*files: Path) -> str:
    """Give the SHA-256 of files, one after the other, in hexadecimal; raises `OSError` where one cannot be read."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while part := file.read(1 << 20):
                digest.update(part)
    return digest.hexdigest()


def atomic_write_csv(path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table to `path` as CSV, with a line of the columns' names; raises `OSError` as `atomic_path` does."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    atomic_write_text(path, text.getvalue())


@contextmanager
def utf8_path(path: str | Path) -> Iterator[str]:
    """Give a path to a file, there or to be made, for libraries that take UTF-8 alone: OpenCV crashes at another.

    It holds for the time of the block; a file that is opened in it stays open.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder, one_name(f"file{Path(path).suffix}"))
            link.symlink_to(os.path.abspath(path))
            yield str(link)
    else:
        yield str(path)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; rename it to `path` when the block ends well.

    When the block raises, `path` is as it was and the temporary folder is removed.

    Args:
        path: The folder to make; nothing, or an empty folder, may be there.

    Yields:
        The temporary folder to fill.

    Raises:
        OSError: It cannot be made or renamed; `FileExistsError` where `path` is a file or holds something.
    """
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(errno.EEXIST, "it exists and is not empty", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield temporary
        _share(temporary, 0o777)
        if path.is_dir():
            path.rmdir()  # Windows renames onto no folder, not even an empty one; one that was filled stays
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def locked(path: str | Path, message: str) -> Iterator[None]:
    """Let one process at a time through the block; the others wait, and then find its work done.

    Args:
        path: The lock, an empty file beside what it guards; it stays, and its folder is there.
        message: Logged where the wait is longer than a second.

    Raises:
        OSError: The file cannot be made.
    """
    from filelock import FileLock, Timeout  # what locks nothing does without it

    lock = FileLock(path)
    try:
        lock.acquire(timeout=1)
    except Timeout:
        logger.warning(message)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _share(path: Path, mode: int) -> None:
    """Make what `tempfile` made private like any other file or folder that the user makes."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(mode & ~mask)
