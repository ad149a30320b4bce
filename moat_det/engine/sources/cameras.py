"""Cameras, streams and video files side by side, of which a frame that nobody saw is given to nobody."""

from __future__ import annotations

import logging
import time
from math import isinf
from threading import Lock, Semaphore
from typing import Any

import cv2
import numpy as np
from ultralytics.data.loaders import LoadStreams, SourceTypes

from moat_det.data.images.intensity import Intensity
from moat_det.engine.sources.video import nothing_but_short, tell_short

logger = logging.getLogger(__name__)

WAIT = 60.0  # seconds for a camera to come back: one that was switched off and on needs about half of them
_PAUSE = 0.01  # seconds between two looks at what a thread has read
_RETRY = 0.5  # seconds between two tries to open a camera again
_AHEAD = 30  # frames of a camera that are read and not yet looked at


class Cameras(LoadStreams):
    """The engine's loader of cameras and streams, which leaves out a camera while its signal is lost.

    The engine puts a black picture in the place of each frame that does not come, and a black picture has no defects.
    What has an end, such as a video file, is left out after it, and the others go on. A camera that does not come back
    ends the run.

    Args:
        source: Number of a camera, address of a stream, or a .streams file of them.
        intensity: How more than 8 bits become 8.
        vid_stride: One frame in so many is given, the last of them.
        buffer: Give all frames of a camera, in their order, instead of the newest; of what has an end all are given.
        channels: Bands of the model's input.

    Attributes:
        unseen: The name of a camera for each loss of its signal, and of what was not shown when the run ended, until
            who looks at the frames has taken it from here.

    Raises:
        ConnectionError: One of them cannot be opened.
        FileNotFoundError: There is none in the file.
    """

    imgs: list[list[np.ndarray | None]]  # None for a loss, in its place among the frames
    sources: list[str]
    frames: list[float]
    fps: list[float]
    threads: list[Any]
    count: int

    def __init__(
        self, source: str, intensity: Intensity, vid_stride: int = 1, buffer: bool = False, channels: int = 3
    ) -> None:
        self._intensity = intensity
        self.unseen: list[str] = []
        self._lost: set[int] = set()
        self._buffers, self._begun = Lock(), Semaphore(0)
        self.source_type = SourceTypes(stream=True)
        super().__init__(source, vid_stride=vid_stride, buffer=buffer, channels=channels)
        for _ in self.sources:
            self._begun.acquire()

    def update(self, i: int, cap: Any, stream: str | int) -> None:
        """Read camera `i` in a thread of its own, until it ends, or is lost and does not come back."""
        number = 1  # which the engine has read, and given whatever the stride
        # The engine's own first frame: as it came, and whatever the stride.
        first = [] if self.vid_stride > 1 else self.imgs[i]
        self.imgs[i] = [None if frame is None else self._intensity.to_uint8(frame) for frame in first]
        self._begun.release()
        while self.running and number < self.frames[i]:
            if len(self.imgs[i]) >= _AHEAD:
                time.sleep(_PAUSE)
                continue
            number += 1
            wanted = number % self.vid_stride == 0
            frame = self._read(cap) if wanted else None
            if frame is None and (wanted or not cap.grab()):
                frame = self._wait_for(i, cap, stream)
                if frame is None:
                    return
            if frame is not None:
                self._give(i, frame)
                self._lost.discard(i)

    def _give(self, i: int, frame: np.ndarray | None) -> None:
        with self._buffers:
            if frame is not None and not self.buffer and self._is_live(i):
                self.imgs[i] = [one for one in self.imgs[i] if one is None]
            self.imgs[i].append(frame)

    def _read(self, cap: Any) -> np.ndarray | None:
        """Give the next frame (H, W, C), or None where there is none."""
        success, frame = cap.read()
        if not success or frame is None:
            return None
        frame = self._intensity.to_uint8(frame)
        return cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)[..., None] if self.cv2_flag == cv2.IMREAD_GRAYSCALE else frame

    def _wait_for(self, i: int, cap: Any, stream: str | int) -> np.ndarray | None:
        """Open a lost camera again, and give its first frame; None where it does not come back, or is no camera."""
        name = self.sources[i]
        self._give(i, None)
        self._lost.add(i)
        live = self._is_live(i)  # a file would begin anew
        reason = f"waiting up to {WAIT:g} s for it to come back" if live else "the file is damaged or cut off"
        logger.warning(f"{name}: gives no images any more, and what nobody sees does not pass; {reason}")
        until = time.monotonic() + WAIT
        while live and self.running and time.monotonic() < until:
            if cap.open(stream) and (frame := self._read(cap)) is not None:
                logger.info(f"{name}: is back")
                return frame
            time.sleep(_RETRY)
        if live and self.running:
            logger.warning(f"{name}: did not come back, so the run ends; look at the camera and its cable")
        return None

    def __next__(self) -> tuple[list[str], list[np.ndarray], list[str]]:
        """Give the names of the cameras that show something, a frame (H, W, C) of each, and texts for the log.

        Raises:
            UserError: There are only videos, of fewer frames than the stride.
        """
        self.count += 1
        while not self._has_ended():
            frames = [self._next_frame(i) for i in range(len(self.sources))]
            seen = [(name, frame) for name, frame in zip(self.sources, frames, strict=True) if frame is not None]
            if seen:
                return [name for name, _ in seen], [frame for _, frame in seen], [""] * len(seen)
            time.sleep(_PAUSE)
        self._tell_unshown()
        self.close()
        if all(map(self._is_short, range(len(self.sources)))):
            raise nothing_but_short(self.vid_stride)
        raise StopIteration

    def _next_frame(self, i: int) -> np.ndarray | None:
        """Give the next frame of a camera, for which it waits; None while the camera is lost, and after its end."""
        while True:
            lost, ended = i in self._lost, not self.threads[i].is_alive()  # before the frames of until then
            with self._buffers:
                while self.imgs[i]:
                    frame = self.imgs[i].pop(0)
                    if frame is not None:
                        return frame
                    self.unseen.append(self.sources[i])
            if lost or ended:
                return None
            time.sleep(_PAUSE)

    def _has_ended(self) -> bool:
        """Whether all have shown what they have, or a camera that does not come back."""
        shown = [not self.threads[i].is_alive() and not self.imgs[i] for i in range(len(self.sources))]
        return all(shown) or any(self._is_live(i) and shown[i] for i in range(len(self.sources)))

    def _tell_unshown(self) -> None:
        """Say of which others nobody has seen all that they were to show."""
        for i, name in enumerate(self.sources):
            if self._is_short(i):
                tell_short(name, self.vid_stride)
                self.unseen.append(name)
            elif self.imgs[i] or (self.threads[i].is_alive() and not self._is_live(i)):
                logger.warning(f"{name}: the rest of it was not looked at, since the run ended")
                self.unseen.append(name)

    def _is_short(self, i: int) -> bool:
        return self.frames[i] < self.vid_stride

    def _is_live(self, i: int) -> bool:
        return isinf(self.frames[i])
