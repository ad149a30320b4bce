"""The frames of a run, in the order in which they pass, to their tracks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from moat_det.detection.output_names import OutputNames
from moat_det.engine.results import Results
from moat_det.engine.tracking.tracks import Tracks


class Steps:
    """Follows what is found, with a step for each frame between that could not be read.

    Args:
        tracks: Of the run.
        names: What its outputs are called.
    """

    def __init__(self, tracks: Tracks, names: OutputNames) -> None:
        self._tracks, self._names = tracks, names
        self._next = 0  # of the files

    def of_video(self, result: Results, number: int | None = None) -> None:
        """Take in what was found in a frame of a video, whose number is known, or of a camera."""
        file = self._names.relative(result.path)
        if number is not None:
            self._pass_frames(file, number - self._tracks.stride)
        self._tracks.follow(result, file, file)

    def of_folder(self, result: Results, files: Sequence[str]) -> None:
        """Take in what was found in a picture, which is the next frame of its folder.

        Args:
            result: Of the picture, which is no file where it was in memory.
            files: Of the run, in its order, as far as they are known.
        """
        try:
            place = files.index(result.path, self._next)
        except ValueError:
            pass
        else:
            self._pass_pictures(files[self._next : place])
            self._next = place + 1
        file = self._names.relative(result.path)
        self._tracks.follow(result, os.path.dirname(file), file)

    def end(self, pictures: Sequence[str], videos: Mapping[str, int]) -> None:
        """Count what could not be read at the end of each source.

        Args:
            pictures: The files of the run that are pictures, in its order.
            videos: The number of the last frame of each video.
        """
        self._pass_pictures(pictures[self._next :])
        for video, frames in videos.items():
            self._pass_frames(self._names.relative(video), frames)

    def _pass_pictures(self, files: Sequence[str]) -> None:
        for file in files:
            self._tracks.skip(os.path.dirname(self._names.relative(file)))

    def _pass_frames(self, video: str, until: int) -> None:
        for _ in range(self._tracks.frames[video], until // self._tracks.stride):
            self._tracks.skip(video)
