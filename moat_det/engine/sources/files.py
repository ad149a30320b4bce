"""Image and video files, of which we read the images, with the intensities that the model was trained with."""

from __future__ import annotations

import logging
from multiprocessing.pool import ThreadPool

import cv2
import numpy as np
from ultralytics.data.loaders import LoadImagesAndVideos, SourceTypes

from moat_det.cores import READING_THREADS
from moat_det.data.images.header import large_images
from moat_det.data.images.intensity import Intensity
from moat_det.data.images.read import read_input
from moat_det.detection.source_files import list_files, source_root, tell_pictures
from moat_det.engine.sources.frames import frames_in_order
from moat_det.engine.sources.video import Video, nothing_but_short, tell_short
from moat_det.errors import UserError

logger = logging.getLogger(__name__)


class ImageFiles(LoadImagesAndVideos):
    """In the place of the engine's loader of files, images first.

    Args:
        source: See `list_files`.
        intensity: How more than 8 bits become 8.
        channels: Bands of the model's input.
        batch: Most images in a batch.
        vid_stride: Of a video, one frame in so many is read.
        frames: The images are frames too, which come in order and of which as many are left out.

    Attributes:
        fps: Frames per second of the video that is being read.
        passed: The number of the last frame that was to be given, of each video that has ended.
        short: The videos that have fewer frames than the stride, so far.
        unseen: The videos that could not be read whole, until who looks at the frames has taken them from here.

    Raises:
        FileNotFoundError: There is no such file, or none of them is an image or a video.
        UserError: The stride leaves none of the frames.
    """

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
        found, videos = list_files(source)
        images = frames_in_order(found, vid_stride) if frames else found
        if not found and not videos:
            raise FileNotFoundError(f"no images or videos found in {source}")
        if not images and not videos:
            raise UserError(
                f"--vid-stride {vid_stride}: is larger than the number of pictures in any folder of {source}; give a "
                "smaller one"
            )
        self._intensity, self._channels = intensity, channels
        self.root = source_root(source, [*images, *videos])
        self.source_type = SourceTypes()
        self.files = [*images, *videos]
        self.nf, self.ni = len(self.files), len(images)
        self.video_flag = [False] * len(images) + [True] * len(videos)
        self.mode = "image" if images else "video"
        self.bs, self.vid_stride = batch, vid_stride
        self.fps, self.unseen, self.passed = 0.0, list[str](), dict[str, int]()
        self.short: list[str] = []
        self._video: Video | None = None

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
        return (paths, images, texts) if images else self._next_frames()

    def _next_frames(self) -> tuple[list[str], list[np.ndarray], list[str]]:
        """Give a batch of frames, all of one video; raises `UserError` where there is nothing to give at all."""
        while self.count < self.nf:
            self.mode, file = "video", self.files[self.count]
            self._video = self._video or self._open(file)
            images: list[np.ndarray] = []
            texts: list[str] = []
            while self._video and len(images) < self.bs and (frame := self._video.read()) is not None:
                images.append(self._intensity.to_uint8(frame))
                place = f"frame {self._video.number}/{self._video.frames}"
                texts.append(f"video {self.count + 1}/{self.nf} ({place}) {file}: ")
            if images:
                return [file] * len(images), images, texts
            self._end(file)
        if len(self.short) == self.nf:
            raise nothing_but_short(self.vid_stride)
        raise StopIteration

    def _open(self, file: str) -> Video | None:
        """Open a video; of one that cannot be opened there are no frames, and the next file follows."""
        try:
            video = Video(file, self.vid_stride, gray=self._channels == 1)
        except (OSError, cv2.error):
            logger.warning(f"{file}: it cannot be opened as a video")
            return None
        self.fps = video.fps
        return video

    def _end(self, file: str) -> None:
        """Go on to the next file, and say how much of this video is missing."""
        self.passed[file] = self._video.number if self._video else 0
        if self._video and (lack := self._video.lack()):
            logger.warning(f"{file}: {lack}; the file is damaged or cut off, so copy it anew")
            self.unseen.append(file)
        elif self._video and self._video.is_short():
            tell_short(file, self.vid_stride)
            self.short.append(file)
        self.close()
        self.count += 1

    def close(self) -> None:
        """Give the video free that is being read."""
        if self._video:
            self._video.close()
        self._video = None

    def _read_all(self, files: list[str]) -> list[np.ndarray | str]:
        with large_images():
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
