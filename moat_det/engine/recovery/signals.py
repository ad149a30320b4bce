"""Signals to end that come amid a step of the optimizer: they wait until the model is whole."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

logger = logging.getLogger(__name__)

_ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Signals:
    """Holds a signal to end back while a batch is trained on; a second one ends at once.

    Attributes:
        held: A batch is trained on, so that weights and counters may not fit together.
    """

    def __init__(self) -> None:
        self.held = False
        self._waiting: Callable[[], Any] | None = None

    def hold(self) -> None:
        """Begin a batch."""
        self.held = True

    @property
    def waiting(self) -> bool:
        """Whether a signal came while it was held back."""
        return self._waiting is not None

    def release(self, elsewhere: bool = False) -> None:
        """End a batch.

        Args:
            elsewhere: A signal came to another of the processes that train together.

        Raises:
            KeyboardInterrupt: A signal came meanwhile.
        """
        self.held = False
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting()
        if elsewhere:
            raise KeyboardInterrupt

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take the signals for the time of the block; those that are ignored, or end the process at once, stay so."""
        before = {}
        if threading.current_thread() is threading.main_thread():  # no other may
            before = {number: handler for number in _ENDING if callable(handler := signal.getsignal(number))}
        for number, handler in before.items():
            signal.signal(number, self._handler(handler))
        try:
            yield
        finally:
            self.held = False
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handler(self, before: Callable[[int, FrameType | None], Any]) -> Callable[[int, FrameType | None], None]:
        def handle(number: int, frame: FrameType | None) -> None:
            if not self.held or self._waiting is not None:
                self._waiting = None
                before(number, frame)
                return
            self._waiting = lambda: before(number, None)
            logger.warning("The training ends after this batch, with a checkpoint; once more ends it at once")

        return handle
