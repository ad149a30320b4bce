"""How every subcommand ends: well, or in one line and an exit code."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from moat_det.cli.streams import check_written, make_forgiving
from moat_det.errors import UserError
from moat_det.messages import way_out

# What ends a process that cleans up first: a service that is stopped, a terminal that is closed.
_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class _Ended(KeyboardInterrupt):
    """The system asked the process to end; the argument is the signal."""


def end_well(name: str, action: Callable[[], int | None], debug: bool) -> int:
    """Do `action`, and end what goes wrong in a line.

    Args:
        name: What the line begins with.
        action: Gives the exit code, or None for 0.
        debug: Let the errors through.

    Returns:
        The exit code: that of `action`, 2 after a user's mistake, 1 after another error, 130 where the user stopped it,
        or 128 and the number of the signal that ended it.
    """
    make_forgiving()
    try:
        try:
            with _ending_is_an_error():
                code = action() or 0
        except SystemExit:  # after the help
            check_written()
            raise
        check_written()
        return code
    except KeyboardInterrupt as stop:
        print(f"\n{name}: stopped", file=sys.stderr)
        return 128 + (stop.args[0] if isinstance(stop, _Ended) else signal.SIGINT)
    except Exception as error:
        if debug:
            raise
        code, message = _explain(error)
        print(f"{name}: {' '.join(message.split())}", file=sys.stderr)
        return code


@contextmanager
def _ending_is_an_error() -> Iterator[None]:
    """Let a signal to end be like Ctrl-C: what was done until then is written, and half a file is removed.

    One that is ignored (`nohup`) stays so, and processes that are forked meanwhile end as they would have.
    """
    process = os.getpid()

    def end(number: int, _: FrameType | None) -> None:
        if os.getpid() == process:
            if number != signal.SIGTERM:  # a terminal that is closed sends a second one, amid the putting in order
                signal.signal(number, signal.SIG_IGN)
            raise _Ended(number)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    taken = []
    if threading.current_thread() is threading.main_thread():  # no other may
        taken = [number for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def show_log() -> None:
    """Print what our modules log; where the engine is loaded, it does."""
    own = logging.getLogger("moat_det")
    own.setLevel(logging.INFO)
    if not own.handlers:
        own.addHandler(_Printer())


class _Printer(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), flush=True)


def _explain(error: Exception) -> tuple[int, str]:
    """Give the exit code and the line of an error."""
    if isinstance(error, UserError):
        return 2, str(error)
    if isinstance(error, OSError) and (helps := way_out(error)):
        place = error.filename or "a file"
        return 2, f"{place} cannot be written: {error.strerror}; {helps}; what was written before is whole"
    # What is no mistake of the user's, as far as we know.
    return 1, f"failed with {type(error).__name__}: {str(error) or 'no reason given'}; --debug shows where"
