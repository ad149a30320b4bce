"""Lists of paths, and images in memory, read a batch at a time."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from itertools import islice
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from ultralytics.data.loaders import LoadPilAndNumpy, SourceTypes

from moat_det.cores import READING_THREADS
from moat_det.data.images.header import large_images
from moat_det.data.images.intensity import Intensity
from moat_det.data.images.read import read_input
from moat_det.detection.output_names import common_folder
from moat_det.detection.source_files import tell_pictures
from moat_det.errors import UserError
from moat_det.messages import one_line

logger = logging.getLogger(__name__)

ELSEWHERE = "is at another machine, and nothing is downloaded here; save it first"
"""Why what a URL leads to is refused."""


class NoImageError(UserError):
    """None of the items can be read."""


class ImageItems(LoadPilAndNumpy):
    """The engine's loader of images in memory, for paths too, which holds no more than a batch.

    A file that cannot be read is said and left out, as one in a folder.

    Args:
        items: Paths, arrays (H, W) or (H, W, C), BGR where C is 3, and pictures.
        intensity: How more than 8 bits become 8.
        channels: Bands of the model's input.
        batch: Most images in a batch.

    Attributes:
        files: The paths: all of a list, and of a generator those so far.
        expected: The names of all items of a list; of a generator nobody knows what comes.
        root: The folder that all paths of a list lie in or below.

    Raises:
        FileNotFoundError: The list is empty.
    """

    def __init__(self, items: Iterable[Any], intensity: Intensity, channels: int, batch: int) -> None:
        self._known: Sequence[Any] | None = items if isinstance(items, (list, tuple)) else None
        if self._known is not None and not self._known:
            raise FileNotFoundError("the list is empty")
        self._items = items
        self._intensity, self._channels, self.bs = intensity, channels, batch
        self.mode, self.source_type = "image", SourceTypes(from_img=True)
        self.files = [str(item) for item in self._known or () if _is_path(item)]
        self.root = common_folder(self.files)
        self.expected = [_name(index, item) for index, item in enumerate(self._known or ())]
        self.count = 0

    def __len__(self) -> int:
        """Batches, as far as it is known."""
        return math.ceil(len(self._known) / self.bs) if self._known is not None else 1

    def __iter__(self) -> ImageItems:
        """Begin; a generator cannot begin again."""
        self._rest = enumerate(self._items)
        self.count, self._fault = 0, "there is no image in it"
        return self

    def __next__(self) -> tuple[list[str], list[np.ndarray], list[str]]:
        """Give the names of a batch, its images (H, W, C) uint8, and texts for the log.

        Raises:
            UserError: An item is no image, or none can be read.
        """
        while batch := list(islice(self._rest, self.bs)):
            names = [_name(index, item) for index, item in batch]
            if self._known is None:
                self.files += [name for name, (_, item) in zip(names, batch, strict=True) if _is_path(item)]
            with large_images(), ThreadPool(min(len(batch), READING_THREADS)) as pool:
                read = pool.starmap(self._read, batch)
            for name, image in zip(names, read, strict=True):
                if isinstance(image, str):
                    self._fault = f"{name}: {image}"
                    logger.warning(self._fault)
            found = [(name, image) for name, image in zip(names, read, strict=True) if not isinstance(image, str)]
            if found:
                self.count += len(found)
                return [name for name, _ in found], [image for _, image in found], [""] * len(found)
        if not self.count:
            raise NoImageError(f"{self._fault}; replace the file, or leave it out")
        raise StopIteration

    def _read(self, index: int, item: Any) -> np.ndarray | str:
        """Give the image, or why there is none."""
        try:
            if _is_path(item):
                tell_pictures(item, self._channels)
                return read_input(item, self._intensity, self._channels)
            return self._single_check(self._in_8_bits(item), self._channels)
        except OSError as error:
            return error.strerror or str(error)
        except UserError as error:
            if not _is_path(item):
                raise UserError(f"image {index + 1} of the source: {error}") from None
            return str(error).removeprefix(f"{item}: ")
        except (TypeError, ValueError) as error:
            raise UserError(f"image {index + 1} of the source: {one_line(error)}") from None

    def _in_8_bits(self, item: Any) -> Any:
        """Bring an array or a picture to 8 bits."""
        if isinstance(item, np.ndarray):
            return self._intensity.to_uint8(self._checked(item))
        if isinstance(item, Image.Image):
            if item.mode[0] not in "IF":
                return item
            samples = np.asarray(ImageOps.exif_transpose(item))[..., None]
            if item.mode == "I" and item.format == "PNG":  # some versions of Pillow widen its 16 bits
                samples = samples.astype(np.uint16)
            return Image.fromarray(self._intensity.to_uint8(samples)[..., 0])
        if isinstance(item, str):
            raise ValueError(f"{item} {ELSEWHERE}")
        raise TypeError(f"{type(item).__name__} is no path, array or picture")

    def _checked(self, array: np.ndarray) -> np.ndarray:
        """Give an array as (H, W, C), of which the model takes the bands."""
        if array.dtype.kind not in "uif":
            raise TypeError(f"an array of {array.dtype} is no image; give one of uint8, (H, W) or (H, W, C)")
        image = np.atleast_3d(array)
        # Gray, with and without alpha, and colour with alpha, where the model takes either.
        bands = {1, 2, 3, 4} if self._channels in {1, 3} else {self._channels}
        if image.ndim != 3 or not image.size or image.shape[2] not in bands:
            wanted = "(H, W) or (H, W, 3)" if self._channels in {1, 3} else f"(H, W, {self._channels})"
            raise ValueError(f"an array of {array.shape} is no image; give {wanted}, the bands last")
        return image


def _is_path(item: Any) -> bool:
    return isinstance(item, Path) or (isinstance(item, str) and not is_url(item))


def is_url(text: str) -> bool:
    """Whether it is an address of the web."""
    return text.lower().startswith(("http://", "https://"))


def _name(index: int, item: Any) -> str:
    """Say what an item is called."""
    if _is_path(item):
        return str(item)
    return str(getattr(item, "filename", "") or f"image{index}.jpg")
