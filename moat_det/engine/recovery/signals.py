"""Signals to end, and of dead workers, that come amid a step of the optimizer: they wait until the model is whole."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from moat_det.engine.distributed.group import ALONE, Group, is_of_group

logger = logging.getLogger(__name__)

STOPPED = (KeyboardInterrupt, SystemExit)
"""What a signal to end raises: the second one where it would have ended the process at once, as SIGTERM in a script."""

ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""The signals that ask a process to end."""

_CHILD = getattr(signal, "SIGCHLD", None)  # which Windows lacks, and torch's way of telling by it

TOGETHER = 1.0
"""Seconds within which signals are one: a closed terminal sends two, and of a service that ends each process gets one,
which whoever started the others passes on to them too."""


class Signals:
    """Holds a signal to end back while a batch is trained on; a second one ends at once.

    So it does with the death of a process that reads images, from which torch raises wherever we are. One signal may
    end both: then the training is stopped, not failed.

    Of several processes none leaves alone between the batches of an epoch, and at other times the first one may. Where
    another left, the first would wait for it and could not write its checkpoint.

    Attributes:
        held: A batch is trained on, so that weights and counters may not fit together, or other processes go on.

    Args:
        group: The processes that train together.
    """

    def __init__(self, group: Group = ALONE) -> None:
        self.held = False
        self._group = group
        self._waiting: Callable[[], Any] | None = None
        self._came = -math.inf
        self._of_children: Callable[[int, FrameType | None], Any] | None = None
        self._takes = self._died = self._ends = False

    def hold(self) -> None:
        """Begin a batch; the processes that read it have been started."""
        self.held = True
        if _CHILD and self._takes and self._of_children is None and callable(handler := signal.getsignal(_CHILD)):
            self._of_children = handler
            signal.signal(_CHILD, self._child)

    @property
    def waiting(self) -> bool:
        """Whether a signal came while it was held back."""
        return self._waiting is not None

    def release(self, amid: bool = False) -> None:
        """End a batch; all processes of the group come here.

        Args:
            amid: Another batch may follow in the epoch.

        Raises:
            KeyboardInterrupt: A signal came meanwhile, to this process or to another one.
            SystemExit: The same, where the signal would have ended the process at once.
        """
        together = self._group.size > 1
        agreed = self._group.any(self.waiting)
        self.held = not agreed and together and (amid or not self._group.leads)
        if agreed:  # what another process has got may come to this one in a moment, amid its checkpoint
            self._came = time.monotonic()
        if agreed or not self.held:
            self._end()
        if agreed and together:
            self._ends = True
            raise KeyboardInterrupt
        if _CHILD and self._died:
            self._child(_CHILD, None)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take the signals for the time of the block; those that are ignored stay so.

        Raises:
            KeyboardInterrupt: A signal came that was held back until the end of the block, or until another process,
                which had got it too, was gone.
            SystemExit: The same, where the signal would have ended the process at once.
        """
        before = {}
        self._died = self._ends = False
        self._takes = threading.current_thread() is threading.main_thread()  # no other may
        if self._takes:
            handlers = {number: signal.getsignal(number) for number in ENDING}
            before = {
                number: handler
                for number, handler in handlers.items()
                if callable(handler) or handler is signal.SIG_DFL
            }
        for number, handler in before.items():
            signal.signal(number, self._handler(handler if callable(handler) else _exit))
        try:
            yield
        except RuntimeError as error:
            if is_of_group(error):
                self._end()
            raise
        else:
            self._end()
        finally:
            self.held = self._takes = False
            if _CHILD and self._of_children is not None:
                before[_CHILD], self._of_children = self._of_children, None
            for number, handler in before.items():
                signal.signal(number, handler)

    def _end(self) -> None:
        """Do what the signal that waits would have done, where there is one."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._ends = True
            waiting()

    def _child(self, number: int, frame: FrameType | None) -> None:
        self._died = self.held
        if self._of_children is None or self.held or self._ends:
            return
        try:
            self._of_children(number, frame)
        except RuntimeError:
            self._ends = True  # the others that die now have nothing to add
            raise

    def _handler(self, before: Callable[[int, FrameType | None], Any]) -> Callable[[int, FrameType | None], None]:
        def handle(number: int, frame: FrameType | None) -> None:
            now = time.monotonic()
            if now - self._came < TOGETHER:
                return
            self._came = now
            if not self.held or self._waiting is not None:
                self._waiting = None
                self._ends = True
                before(number, frame)
                return
            self._waiting = lambda: before(number, None)
            logger.warning("The training ends after this batch, with a checkpoint; once more ends it at once")

        return handle


def _exit(number: int, _: FrameType | None) -> NoReturn:
    """End as a process that the signal ends, but with what stands in `finally` done."""
    raise SystemExit(128 + number)
