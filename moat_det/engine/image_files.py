"""What detection reads: image files and images in memory, with the intensities that the model was trained with."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps
from ultralytics.data.loaders import LoadImagesAndVideos
from ultralytics.data.utils import IMG_FORMATS

from moat_det.cores import READING_THREADS
from moat_det.data.images.intensity import Intensity
from moat_det.data.images.read import read_input
from moat_det.data.images.suffixes import ARRAY_SUFFIX
from moat_det.errors import UserError

logger = logging.getLogger(__name__)


class ImageFiles(LoadImagesAndVideos):
    """The engine's files, images first, of which we read the images and the engine the videos.

    Args:
        loader: The engine's, not yet begun.
        intensity: How more than 8 bits become 8.
        channels: Bands of the model's input.
    """

    count: int
    ni: int

    def __init__(self, loader: LoadImagesAndVideos, intensity: Intensity, channels: int) -> None:
        self.__dict__.update(loader.__dict__)  # its own __init__ would look for the files once more
        self._intensity = intensity
        self._channels = channels

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


@contextmanager
def named_arrays(source: Any) -> Iterator[None]:
    """Let the engine open .npy files where the source names them; those of a folder may be anything."""
    named = isinstance(source, (str, Path)) and str(source).lower().endswith(ARRAY_SUFFIX)
    if named:
        IMG_FORMATS.add(ARRAY_SUFFIX[1:])
    try:
        yield
    finally:
        IMG_FORMATS.discard(ARRAY_SUFFIX[1:])


def as_bytes(source: Any, intensity: Intensity, channels: int) -> Any:
    """Bring images in memory, and lists of images and files, to 8 bits; any other source stays as it is.

    Raises:
        UserError: A file of the list cannot be read.
    """
    if isinstance(source, (list, tuple)):
        return [_as_bytes(item, intensity, channels) for item in source]
    return _as_bytes(source, intensity, channels) if isinstance(source, (np.ndarray, Image.Image)) else source


def as_picture(image: np.ndarray) -> np.ndarray:
    """What is drawn of an image (H, W, C): (H, W, 3), BGR; of bands the first three as RGB, or the first as gray."""
    if image.shape[2] == 3:
        return image
    bands = image[..., [0, 0, 0]] if image.shape[2] < 3 else image[..., 2::-1]
    return np.ascontiguousarray(bands)


def _as_bytes(item: Any, intensity: Intensity, channels: int) -> Any:
    if isinstance(item, np.ndarray):
        return intensity.to_uint8(np.atleast_3d(item))
    if isinstance(item, Image.Image):
        if item.mode[0] not in "IF":
            return item
        gray = intensity.to_uint8(np.asarray(ImageOps.exif_transpose(item))[..., None])
        return _named(gray[..., 0], getattr(item, "filename", ""))
    if not isinstance(item, (str, Path)) or str(item).lower().startswith(("http://", "https://")):
        return item
    try:
        image = read_input(item, intensity, channels)
    except OSError as error:
        raise UserError(f"{item}: {error.strerror or error}; replace the file, or leave it out") from None
    return image if channels != 3 else _named(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), str(item))


def _named(image: np.ndarray, name: str) -> Image.Image:
    """A picture that the engine calls by the name of its file."""
    picture = Image.fromarray(image)
    picture.filename = name  # type: ignore[attr-defined]
    return picture
