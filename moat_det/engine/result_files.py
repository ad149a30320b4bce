"""What a detection with the engine writes beside pictures and labels: videos and crops."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
from ultralytics.utils import MACOS, WINDOWS
from ultralytics.utils.plotting import save_one_box

from moat_det.detection.pictures import write_picture
from moat_det.engine.results import Results
from moat_det.errors import UserError
from moat_det.files import atomic_path, utf8_path

_FINE_COLOURS = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)


class CropFiles:
    """Writes crops to CLASS/BASE-NUMBER.jpg, the number being that of the detection in its image, from 1.

    Args:
        folder: Of the crops. Of an image that an earlier run has left crops of, those go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._old: dict[Path, list[Path]] = {}
        for file in folder.glob("*/**/*.jpg"):
            base, _, number = file.stem.rpartition("-")
            if number.isdecimal():
                place = Path(*file.relative_to(folder).parts[1:-1], base)
                self._old.setdefault(place, []).append(file)

    def write(self, base: str, result: Results) -> None:
        """Write those of an image that is called `base`."""
        for file in self._old.pop(Path(base), []):
            file.unlink(missing_ok=True)
        folders = result.class_folders()
        for number, box in enumerate(result.boxes.cpu() if result.boxes is not None else [], start=1):
            crop = save_one_box(box.xyxy, result.orig_img, BGR=True, save=False)
            if crop.size:
                write_picture(self._folder / folders[int(box.cls)] / f"{base}-{number}", crop, *_FINE_COLOURS)


class VideoFiles:
    """The videos that are being written, by their paths without suffix."""

    def __init__(self) -> None:
        self._open: dict[Path, VideoFile] = {}

    def write(self, path: Path, frames_per_second: float, frame: np.ndarray, alone: bool) -> None:
        """Add a frame to a video, which begins with its first one.

        Args:
            path: Of the video.
            frames_per_second: Of the video.
            frame: (H, W, 3), BGR.
            alone: Nothing more comes for the others: they end, since a process may open a thousand files or so.
        """
        if path not in self._open:
            if alone:
                self.close()
            self._open[path] = VideoFile(path, frames_per_second, frame)
        self._open[path].write(frame)

    def close(self) -> None:
        """Give all their names; one that cannot have its name takes it from no other.

        Raises:
            OSError: As `VideoFile.close`.
        """
        with ExitStack() as closing:
            while self._open:
                closing.callback(self._open.popitem()[1].close)


class VideoFile:
    """A video that has its name when it is whole.

    Args:
        path: Without suffix, which follows from the system.
        frames_per_second: Of the video.
        frame: The first one (H, W, 3), BGR, which says how large all are.

    Raises:
        OSError: It cannot be written.
        UserError: This OpenCV has no encoder for it.
    """

    def __init__(self, path: Path, frames_per_second: float, frame: np.ndarray) -> None:
        suffix, code = (".mp4", "avc1") if MACOS else (".avi", "WMV2") if WINDOWS else (".avi", "MJPG")
        self._writing = ExitStack()
        self._file = self._writing.enter_context(atomic_path(f"{path}{suffix}"))
        self._frames = 0
        size = frame.shape[1], frame.shape[0]
        with utf8_path(self._file) as writable:
            self._writer = cv2.VideoWriter(writable, cv2.VideoWriter.fourcc(*code), frames_per_second, size)
        if not self._writer.isOpened():
            self._file.unlink(missing_ok=True)
            self._writing.pop_all()
            raise UserError(f"{path}{suffix}: this OpenCV cannot write such a video; leave it out with --save false")

    def write(self, frame: np.ndarray) -> None:
        """Add a frame."""
        self._writer.write(frame)
        self._frames += 1

    def close(self) -> None:
        """Give the file its name.

        Raises:
            OSError: Fewer frames are in it than were added: OpenCV does not say that a disk is full.
        """
        with self._writing:
            self._writer.release()
            readable = self._readable_frames()
            if not readable or readable + 1 < self._frames:  # some formats tell it by their length in seconds
                raise OSError(f"{self._file}: not all frames could be written")

    def _readable_frames(self) -> int:
        with utf8_path(self._file) as readable:
            return int(cv2.VideoCapture(readable).get(cv2.CAP_PROP_FRAME_COUNT))
