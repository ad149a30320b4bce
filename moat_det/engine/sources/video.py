"""The frames of a video file, and how many of them could not be read."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np

from moat_det.errors import UserError
from moat_det.files import check_is_file, utf8_path

logger = logging.getLogger(__name__)

# These have a table of their frames, whose length is what OpenCV says; one frame is left for decoders that keep the
# last. Of others it multiplies length and rate, and the length may be that of the sound: a second is left for that.
_WITH_TABLE = {".avi", ".m4v", ".mov", ".mp4"}


def tell_short(name: str, stride: int) -> None:
    """Say that of a video there is nothing to look at."""
    logger.warning(f"{name}: no frame of it is looked at, since it has fewer than --vid-stride {stride}")


def nothing_but_short(stride: int) -> UserError:
    """Give the error where that is so of all videos, and there is nothing else."""
    return UserError(f"--vid-stride {stride}: is larger than the number of frames of any video; give a smaller one")


class Video:
    """Reads a video to its end.

    Args:
        path: The file.
        stride: One frame in so many is given, the last of them.
        gray: Give gray frames.

    Attributes:
        fps: Frames per second.
        frames: How many there are, as far as the file says it.
        number: Of the frame that was given last, or could not be, from 1 in the file.
        damaged: How many of those that were to be given could not be decoded.

    Raises:
        OSError: It cannot be opened as a video.
    """

    def __init__(self, path: str, stride: int, gray: bool) -> None:
        check_is_file(path)
        with utf8_path(path) as readable:
            self._capture = cv2.VideoCapture(readable)
        if not self._capture.isOpened():
            raise OSError("it cannot be opened as a video")
        self.fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.frames = max(int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        self._tolerance = 1.0 if Path(path).suffix.lower() in _WITH_TABLE else max(1.0, self.fps)
        self._stride, self._gray, self._passed = stride, gray, 0
        self.number = self.damaged = 0

    def read(self) -> np.ndarray | None:
        """Give the next frame (H, W, C), BGR or gray; None at the end."""
        while True:
            for _ in range(self._stride):
                if not self._capture.grab():
                    return None
                self._passed += 1
            self.number = self._passed
            decoded, frame = self._capture.retrieve()
            if decoded and frame is not None:
                return cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)[..., None] if self._gray else frame
            self.damaged += 1

    def lack(self) -> str | None:
        """Say at the end how many frames could not be read; None where none is missing.

        Those that the stride passes over at the end count as read.
        """
        missing = self.damaged + max(0, self.frames - self._passed)
        if not self.damaged and missing <= self._tolerance:
            return None
        return f"only {self._passed - self.damaged} of {max(self.frames, self._passed)} frames could be read"

    def is_short(self) -> bool:
        """Whether it ended before the first frame that was to be given."""
        return not self.number and self._passed > 0

    def close(self) -> None:
        """Give the file free."""
        self._capture.release()
