"""Image and video files, of which we read the images, with the intensities that the model was trained with."""

from __future__ import annotations

import logging
from multiprocessing.pool import ThreadPool
from typing import Any

import cv2
import numpy as np
from ultralytics.data.loaders import LoadImagesAndVideos, SourceTypes

from moat_det.cores import READING_THREADS
from moat_det.data.images.intensity import Intensity
from moat_det.data.images.read import read_input
from moat_det.detection.source_files import list_files, source_root, tell_pictures
from moat_det.engine.sources.frames import frames_in_order
from moat_det.errors import UserError
from moat_det.files import check_is_file, utf8_path

logger = logging.getLogger(__name__)


class ImageFiles(LoadImagesAndVideos):
    """The engine's loader of files, images first, of which we read the images and the engine the videos.

    Args:
        source: See `list_files`.
        intensity: How more than 8 bits become 8.
        channels: Bands of the model's input.
        batch: Most images in a batch.
        vid_stride: Of a video, one frame in so many is read.
        frames: The images are frames too, which come in order and of which as many are left out.

    Raises:
        FileNotFoundError: There is no such file, or none of them is an image or a video.
    """

    cap: Any
    count: int
    root: str | None

    def __init__(
        self,
        source: str,
        intensity: Intensity,
        channels: int,
        batch: int,
        vid_stride: int,
        frames: bool = False,
    ) -> None:
        images, videos = list_files(source)
        images = frames_in_order(images, vid_stride) if frames else images
        if not images and not videos:
            raise FileNotFoundError(f"no images or videos found in {source}")
        self._intensity, self._channels = intensity, channels
        self.root = source_root(source, [*images, *videos])
        self.source_type = SourceTypes()
        self.files = [*images, *videos]
        self.nf, self.ni = len(self.files), len(images)
        self.video_flag = [False] * len(images) + [True] * len(videos)
        self.mode = "image" if images else "video"
        self.bs, self.vid_stride = batch, vid_stride
        self.cv2_flag = {1: cv2.IMREAD_GRAYSCALE, 3: cv2.IMREAD_COLOR}.get(channels, cv2.IMREAD_UNCHANGED)
        self.cap = None
        if videos:
            self._new_video(videos[0])

    def keep(self, images: list[str]) -> None:
        """Read no other files than these, some of the images, of which none was read yet."""
        self.files, self.nf, self.ni = images, len(images), len(images)
        self.video_flag, self.mode = [False] * len(images), "image"

    def __next__(self) -> tuple[list[str], list[np.ndarray], list[str]]:
        """Give the paths of a batch, its images (H, W, C) uint8, and texts for the log."""
        paths: list[str] = []
        images: list[np.ndarray] = []
        texts: list[str] = []
        while self.count < self.ni and len(images) < self.bs:
            self.mode = "image"
            files = self.files[self.count : min(self.count + self.bs - len(images), self.ni)]
            for file, image in zip(files, self._read_all(files), strict=True):
                self.count += 1
                if isinstance(image, str):
                    logger.warning(f"{file}: {image}")
                    continue
                paths.append(file)
                images.append(image)
                texts.append(f"image {self.count}/{self.nf} {file}: ")
        return (paths, images, texts) if images else super().__next__()

    def _read_all(self, files: list[str]) -> list[np.ndarray | str]:
        if len(files) == 1:
            return [self._read(files[0])]
        with ThreadPool(min(len(files), READING_THREADS)) as pool:
            return pool.map(self._read, files)

    def _read(self, file: str) -> np.ndarray | str:
        """Give the image, or why there is none."""
        tell_pictures(file, self._channels)
        try:
            return read_input(file, self._intensity, self._channels)
        except OSError as error:
            return error.strerror or str(error)
        except UserError as error:  # samples of a kind that the model cannot take
            return str(error).removeprefix(f"{file}: ")

    def _new_video(self, path: str) -> None:
        """Open a video; of one that cannot be opened there are no frames, and the next file follows."""
        self.frame = self.frames = 0
        self.fps = 0.0
        try:
            check_is_file(path)
            with utf8_path(path) as readable:
                super()._new_video(readable)
        except (OSError, cv2.error):
            logger.warning(f"{path}: it cannot be opened as a video")
            self.cap = self.cap or cv2.VideoCapture()  # one of which nothing comes
