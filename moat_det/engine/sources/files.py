"""Image and video files, of which we read the images, with the intensities that the model was trained with."""

from __future__ import annotations

import csv
import glob
import logging
import os
from multiprocessing.pool import ThreadPool
from pathlib import Path

import cv2
import numpy as np
from ultralytics.data.loaders import LoadImagesAndVideos, SourceTypes

from moat_det.cores import READING_THREADS
from moat_det.data.images.intensity import Intensity
from moat_det.data.images.read import read_input
from moat_det.data.images.suffixes import ARRAY_SUFFIX, IMAGE_SUFFIXES, VIDEO_SUFFIXES

logger = logging.getLogger(__name__)


class ImageFiles(LoadImagesAndVideos):
    """The engine's loader of files, images first, of which we read the images and the engine the videos.

    Args:
        source: See `list_files`.
        intensity: How more than 8 bits become 8.
        channels: Bands of the model's input.
        batch: Most images in a batch.
        vid_stride: Of a video, one frame in so many is read.

    Raises:
        FileNotFoundError: There is no such file, or none of them is an image or a video.
    """

    count: int

    def __init__(self, source: str, intensity: Intensity, channels: int, batch: int, vid_stride: int) -> None:
        images, videos = list_files(source)
        if not images and not videos:
            raise FileNotFoundError(f"no images or videos found in {source}")
        self._intensity, self._channels = intensity, channels
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
        try:
            return read_input(file, self._intensity, self._channels)
        except OSError as error:
            return error.strerror or str(error)


def list_files(source: str) -> tuple[list[str], list[str]]:
    """Find the images and the videos of a file, a folder, a pattern, or a list in a .txt or .csv file.

    Entries of a list that are nowhere below the current folder are looked for beside the list. Arrays (.npy) are images
    where their names are given; those of a folder may be anything.

    Returns:
        Absolute paths of the images, and of the videos.

    Raises:
        FileNotFoundError: There is no such file.
    """
    given = Path(source)
    listed = given.suffix.lower() in {".txt", ".csv"}
    images: list[str] = []
    videos: list[str] = []
    for name in sorted(_read_list(given)) if listed else [source]:
        files = _matches(Path(name))
        if not files and listed:
            files = _matches(given.parent / name)
        if files is None:
            raise FileNotFoundError(f"{name} does not exist")
        named = {ARRAY_SUFFIX[1:]} if name.lower().endswith(ARRAY_SUFFIX) else set()
        for file in files:
            suffix = file.rpartition(".")[-1].lower()
            if suffix in IMAGE_SUFFIXES | named:
                images.append(file)
            elif suffix in VIDEO_SUFFIXES:
                videos.append(file)
    return images, videos


def _matches(path: Path) -> list[str] | None:
    """Give absolute paths of what a pattern, a folder or a file stands for; None where there is nothing."""
    text = str(path.absolute())
    if "*" in text:
        return sorted(glob.glob(text, recursive=True))
    if path.is_dir():
        return sorted(glob.glob(os.path.join(glob.escape(text), "*.*")))
    return [text] if path.is_file() else None


def _read_list(path: Path) -> list[str]:
    """Give the lines of a text file, or the cells of a CSV with or without the heading "source"."""
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    if path.suffix.lower() == ".csv":
        rows = list(csv.reader(lines))
        lines = [cell for row in rows[rows[:1] == [["source"]] :] for cell in row]
    return [line.strip() for line in lines if line.strip()]
