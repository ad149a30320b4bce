"""The images of a split: read, scaled, cached, and stood in for where they can no longer be read."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from typing import Literal

import numpy as np
import torch

from moat_det.cores import READING_THREADS
from moat_det.data.images.broken import BrokenImageError
from moat_det.data.images.intensity import Intensity
from moat_det.data.images.read import read_input
from moat_det.data.images.reduced import decoding_factor
from moat_det.data.images.resize import resize
from moat_det.data.loader.broken import BrokenImages, OnBroken
from moat_det.data.loader.image_cache import Image, ImageCache, open_image_cache
from moat_det.data.loader.ram_cache import RamCache
from moat_det.data.sizes.letterbox import PADDING
from moat_det.data.sizes.policy import SizePolicy
from moat_det.data.sizes.shape import Shape
from moat_det.detector.memory import available_memory
from moat_det.errors import UserError
from moat_det.progress import progress

logger = logging.getLogger(__name__)

_KEPT_BYTES = 512 << 20  # of the images that were read last, in each worker
_PROBED = 30  # images whose mean size tells what all of them need in memory

Cache = Literal["ram", "disk"]
"""Where the scaled images are kept from one epoch to the next."""


class Images:
    """Reads the images of a split, each scaled as a policy says.

    Args:
        files: The images.
        shapes: Height and width of each, as they were indexed.
        sizes: How they are scaled.
        intensity: How images of more than 8 bits become the model's input.
        channels: Of an image.
        training: Decode a large JPEG at a part of its size, keep a gray image as one band, and keep those that were
            read last, which a mosaic may want again. Else what detection sees.
        on_broken: What stands in for an image that can no longer be read.
        cache: Where all of them are kept.
        prefix: Put before each message.

    Attributes:
        broken: Which images could not be read, in any worker.
        cache: The scaled images, where they are kept.
    """

    def __init__(
        self,
        files: Sequence[str],
        shapes: Sequence[Shape],
        sizes: SizePolicy,
        intensity: Intensity,
        channels: int,
        *,
        training: bool,
        on_broken: OnBroken = "refuse",
        cache: Cache | None = None,
        prefix: str = "",
    ) -> None:
        self._files, self._shapes, self._sizes = files, shapes, sizes
        self._intensity, self._channels = intensity, channels
        self._training, self._on_broken, self._prefix = training, on_broken, prefix
        self._kept: dict[int, Image] = {}
        self._kept_bytes = 0
        self.broken = BrokenImages(len(files))
        self.cache: ImageCache | RamCache | None = None
        if cache == "ram":
            self.cache = self._cache_in_memory()
        elif cache == "disk":
            targets = np.array([sizes.scaled(*shape) for shape in shapes])
            settings = [intensity.to_dict(), training]
            self.cache = open_image_cache(files, targets, channels, settings, self._read, prefix)

    def load(self, i: int) -> Image:
        """Give a scaled image.

        Returns:
            The image (H, W, channels) uint8, BGR where there are three; in training a gray one has one band. It is not
            to be changed. And its (height, width) in the file.

        Raises:
            BrokenImageError: The image cannot be read and is to be replaced.
            UserError: It cannot be read and is to be refused, or too many are broken.
        """
        if self._on_broken == "replace" and i in self.broken:
            raise BrokenImageError(self._files[i])
        if i in self._kept:
            return self._kept[i]
        image = self.cache.get(i) if self.cache is not None else None
        if image is None:
            image = self._read_or_stand_in(i, self._on_broken)
            if self._training:
                self._keep(i, image)
        return image

    def report_broken(self) -> None:
        """Log how many images are broken and which, if there are more than the last time."""
        self.broken.report(self._files, self._prefix)

    def _read(self, i: int) -> Image:
        """Read an image from its file and scale it; raises `OSError` where it is missing or damaged."""
        file, size = self._files[i], self._shapes[i]
        # In training alone: what validation sees is what detection sees.
        factor = decoding_factor(size, self._sizes.scaled(*size)) if self._training else 1
        image = read_input(file, self._intensity, self._channels, factor, keep_gray=self._training)
        if factor > 1:
            if (image.shape[0] * factor, image.shape[1] * factor) == size:
                return resize(image, *self._sizes.scaled(*size)), size
            if image.shape[:2] != size:  # another image than the one that was indexed
                image = read_input(file, self._intensity, self._channels, keep_gray=self._training)
        size = (image.shape[0], image.shape[1])
        return resize(image, *self._sizes.scaled(*size)), size

    def _read_or_stand_in(self, i: int, on_broken: OnBroken) -> Image:
        """Read an image, or give a gray one for one that cannot be read, or raise as `load` does."""
        try:
            return self._read(i)
        except OSError as error:
            reason = f"{self._files[i]}: {error.strerror or error}"
            if on_broken == "refuse":
                raise UserError(f"{reason}; replace the image, or take it out of the dataset") from error
            self.broken.add(i, reason)
            if on_broken == "replace":
                raise BrokenImageError(reason) from error
        size = self._shapes[i]
        return np.full((*self._sizes.scaled(*size), self._channels), PADDING, np.uint8), size

    def _keep(self, i: int, image: Image) -> None:
        """Keep the images that were read last."""
        self._kept[i] = image
        self._kept_bytes += image[0].nbytes
        while self._kept_bytes > _KEPT_BYTES and len(self._kept) > 1:
            oldest = next(iter(self._kept))
            self._kept_bytes -= self._kept.pop(oldest)[0].nbytes

    def _cache_in_memory(self) -> RamCache | None:
        """Read all images, if they fit into the memory twice: while they are put together they are."""
        # What is broken already is gray in the cache, and replaced, where it is to be, when it is asked for.
        on_broken: OnBroken = "refuse" if self._on_broken == "refuse" else "gray"
        count = len(self._files)
        probes = np.unique(np.linspace(0, count - 1, min(count, _PROBED)).astype(int)).tolist()
        probed = [self._read_or_stand_in(i, on_broken)[0].nbytes for i in probes]
        needed, free = 2 * count * sum(probed) / len(probes), available_memory(torch.device("cpu"))
        if needed > free:
            logger.warning(
                f"{self._prefix}no images are cached in memory: {needed / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB "
                "are free; cache=disk takes space on the disk instead"
            )
            return None
        with ThreadPool(READING_THREADS) as pool:
            read = pool.imap(lambda i: self._read_or_stand_in(i, on_broken), range(count))
            images = list(progress(read, f"{self._prefix}caching images in memory", count))
        return RamCache(images)
