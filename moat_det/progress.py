"""How far long work is: a bar in a terminal, a line now and then where nothing redraws one."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

LINE_EVERY = 30
"""Seconds between two lines where no bar can be drawn: in a file, a pipe, the log of a service."""


def progress(work: Iterable[Any] | None = None, text: str = "", total: int | None = None, **settings: Any) -> Any:
    """Show how far some work is, on standard error.

    Args:
        work: What is gone through; None where the caller counts by `update`.
        text: What the work is.
        total: How much it is, where `work` has no length.
        **settings: Of tqdm: `unit`, `leave`, ...
    """
    return (tqdm if _redraws() else _Lines)(work, text, total, **settings)


def _redraws() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


class _Lines(tqdm):
    """Writes a line every `LINE_EVERY` seconds; work that is shorter writes none."""

    monitor_interval = 0  # no thread that watches over it

    def __init__(self, work: Iterable[Any] | None, text: str, total: int | None, **settings: Any) -> None:
        settings = {**settings, "disable": sys.stderr is None, "leave": False, "mininterval": 0, "miniters": 1}
        self._due = time.monotonic() + LINE_EVERY
        super().__init__(work, text, total, **settings)
        self._time = time.monotonic  # the clock of the machine may be set meanwhile
        self.start_t = self.last_print_t = self._time()

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Write the line where it is due; asked at every step, and with an empty `msg` at the end."""
        if msg == "" or time.monotonic() < self._due:
            return False
        self._due = time.monotonic() + LINE_EVERY
        self.fp.write(f"{self}\n")
        self.fp.flush()
        return True

    def clear(self, nolock: bool = False) -> None:
        """Clear nothing: what is written stays."""

    def __str__(self) -> str:
        """Say how far it is, in words."""
        seconds, counted = self._time() - self.start_t, self.format_sizeof if self.unit_scale else str
        passed = f"{self.unit}, {self.format_interval(seconds)} passed"
        if not self.total:
            return f"{self.desc}: {counted(self.n)} {passed}"
        left = self.format_interval(seconds * (self.total - self.n) / max(self.n, 1))
        return f"{self.desc}: {counted(self.n)} of {counted(self.total)} {passed}, about {left} left"
