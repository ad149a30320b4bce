"""Standard output and error as a terminal, a pipe or a file takes them."""

from __future__ import annotations

import errno
import io
import sys
from contextlib import suppress
from typing import TextIO, cast

# Of a pipe whose reader went away; the second one is Windows' word for it.
_GONE = {errno.EPIPE, errno.EINVAL}
# Each closes its file once nobody holds it, and there are libraries that replace sys.__stdout__.
_first: list[TextIO] = []


def make_forgiving() -> None:
    """Let the work go on where what it prints is not read, or cannot be written as it is.

    Where the reader goes away (`| head`), the rest is dropped and the command ends as it would have. Where the system
    takes no more (a full disk), the rest is dropped too, and `check_written` says so at the end. Characters that the
    encoding lacks, and bytes of file names that are no text, are written as escapes.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        # In a test or a notebook it is another's.
        if stream is not None and stream is getattr(sys, f"__{name}__") and hasattr(stream, "buffer"):
            setattr(sys, name, _forgiving(stream))


def check_written() -> None:
    """Raise the `OSError` of what could not be written to standard output; it names it."""
    if sys.stdout is None:  # of a process without a terminal
        return
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)  # in a test it is another's
    if isinstance(raw, _Pipe) and raw.fault is not None:
        raise OSError(raw.fault.errno, raw.fault.strerror, "standard output")


def _forgiving(stream: TextIO) -> TextIO:
    raw = getattr(stream.buffer, "raw", stream.buffer)  # PYTHONUNBUFFERED leaves the buffer out
    if not isinstance(raw, io.RawIOBase):
        return stream
    with suppress(OSError):
        stream.flush()
    _first.append(stream)
    return io.TextIOWrapper(
        io.BufferedWriter(cast("io.FileIO", _Pipe(raw))),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=True,
    )


class _Pipe(io.RawIOBase):
    """Hands bytes on until nobody takes them any more.

    Attributes:
        fault: Why they were not taken, where it is not that the reader went away.
    """

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw, self._gone = raw, False
        self.fault: OSError | None = None

    def write(self, content: bytes | memoryview) -> int | None:  # type: ignore[override]
        """Write; gives how many bytes were, or seem to have been."""
        size = len(content)
        if self._gone:
            return size
        try:
            return self._raw.write(content)
        except OSError as error:
            self._gone = True
            if error.errno not in _GONE:
                self.fault = error
            return size

    def writable(self) -> bool:
        """Say whether it takes bytes: always."""
        return True

    def isatty(self) -> bool:
        """Say whether it is a terminal."""
        return self._raw.isatty()

    def fileno(self) -> int:
        """Give the number of the file."""
        return self._raw.fileno()
