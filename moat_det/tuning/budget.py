"""The time that a search may take, over all calls that work on it."""

from __future__ import annotations

import time


class Budget:
    """Seconds, of which some are spent.

    Args:
        seconds: All of them.
        spent: By earlier calls.
    """

    def __init__(self, seconds: float, spent: float = 0.0) -> None:
        self.seconds = seconds
        self._before, self._began = spent, time.monotonic()

    @property
    def spent(self) -> float:
        """Seconds that are over, those of earlier calls among them."""
        return self._before + time.monotonic() - self._began

    @property
    def left(self) -> float:
        """Seconds that are left; below 0 where it took longer."""
        return self.seconds - self.spent
