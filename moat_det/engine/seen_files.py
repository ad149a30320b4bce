"""Which files of a detection were seen, and which not, or not whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from moat_det.detection.output_names import OutputNames
from moat_det.evaluation.inspection.verdicts import Verdicts


class SeenFiles:
    """Keeps account of them, and has the parts looked at of which something was not seen.

    Args:
        source: What is read. Where it cannot show all of a video or a camera, it puts the name into its list `unseen`.
        names: What outputs are called.
        verdicts: On the parts; None without an operating point.
    """

    def __init__(self, source: Any, names: OutputNames, verdicts: Verdicts | None) -> None:
        self._source, self._names, self._verdicts = source, names, verdicts
        self._seen: set[str] = set()
        self._unseen: set[str] = set()
        self._video: str | None = None  # that is being looked at

    def see(self, files: Sequence[str], of_video: bool) -> None:
        """Take note of the files of a batch, or of frames of a video; one that was looked at before has ended then."""
        if self._video != files[0]:
            self._end_video()
        self._video = files[0] if of_video else None
        self._seen.update(files)

    def _end_video(self) -> None:
        if self._video is not None and self._verdicts is not None:
            self._verdicts.end(self._names.relative(self._video))

    def take_unseen(self) -> list[str]:
        """Take from the source what it could not show, as soon as it says so, and give it."""
        unseen = getattr(self._source, "unseen", [])
        taken = [unseen.pop(0) for _ in range(len(unseen))]
        for file in taken:
            self._miss(file)
        return taken

    def unreadable(self) -> list[Path]:
        """Give at the end the files that could not be read, or not whole.

        Videos that are shorter than the stride are none of them, though nobody saw them either.
        """
        self.take_unseen()
        self._end_video()
        files = list(getattr(self._source, "files", ()))
        for file in files:
            if file not in self._seen and file not in self._unseen:
                self._miss(file)
        unreadable = self._unseen.difference(getattr(self._source, "short", ()))
        return [Path(file) for file in files if file in unreadable]

    def _miss(self, file: str) -> None:
        self._unseen.add(file)
        if self._verdicts is not None:
            self._verdicts.add_unreadable(self._names.relative(file))
