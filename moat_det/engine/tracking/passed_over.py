"""Frames that are files of their own, and which of them could not be read."""

from __future__ import annotations

from collections.abc import Sequence


class PassedOver:
    """Tells which files of a source were passed over: those that lie between two that were looked at."""

    def __init__(self) -> None:
        self._next = 0

    def before(self, files: Sequence[str], file: str) -> Sequence[str]:
        """Give the files that were passed over before the next one that is looked at.

        Args:
            files: Of the source, in its order, as far as they are known.
            file: The next one; of a picture in memory, which is no file, none were.
        """
        try:
            place = files.index(file, self._next)
        except ValueError:
            return ()
        passed, self._next = files[self._next : place], place + 1
        return passed
