"""What a detection writes of each image: a picture or a video, labels, crops; in folders like those of the source."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from ultralytics.utils import MACOS, WINDOWS
from ultralytics.utils.plotting import save_one_box

from moat_det.engine.results import Results
from moat_det.errors import UserError
from moat_det.files import atomic_path, atomic_write_bytes, utf8_path

_LONGEST_JPEG = 65_500  # pixels of a side
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


def write_labels(path: Path, result: Results, with_scores: bool) -> None:
    """Write detections in YOLO's format; without any there is no file, nor that of an earlier run."""
    if not len(result):
        path.unlink(missing_ok=True)
        return
    with atomic_path(path) as temporary:  # to which the engine appends
        result.save_txt(temporary, save_conf=with_scores)


def write_picture(path: Path, picture: np.ndarray, *settings: int) -> None:
    """Write a picture (H, W, 3), BGR, to `path` with the suffix of a JPEG, or of a PNG where a JPEG cannot be so long.

    Args:
        path: Without suffix.
        picture: The picture.
        *settings: For OpenCV's encoder of JPEG.
    """
    suffix, settings = (".jpg", settings) if max(picture.shape[:2]) <= _LONGEST_JPEG else (".png", ())
    encoded, content = cv2.imencode(suffix, picture, settings)
    if not encoded:
        raise UserError(f"{path}{suffix}: the picture of {picture.shape} could not be encoded; leave it out")
    atomic_write_bytes(f"{path}{suffix}", content.tobytes())


def open_video(path: Path, frames_per_second: float, frame: np.ndarray) -> cv2.VideoWriter:
    """Open a video of frames (H, W, 3), BGR, like the first one.

    Args:
        path: Without suffix, which follows from the system.
        frames_per_second: Of the video.
        frame: The first one.
    """
    suffix, code = (".mp4", "avc1") if MACOS else (".avi", "WMV2") if WINDOWS else (".avi", "MJPG")
    path.parent.mkdir(parents=True, exist_ok=True)
    size = frame.shape[1], frame.shape[0]
    with utf8_path(f"{path}{suffix}") as writable:
        return cv2.VideoWriter(writable, cv2.VideoWriter.fourcc(*code), frames_per_second, size)
