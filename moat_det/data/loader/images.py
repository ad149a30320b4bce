"""A dataset's images: read, scaled, cached, and stood in for where they can no longer be read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ultralytics.data.dataset import YOLODataset

from moat_det.data.images.intensity import Intensity
from moat_det.data.images.read import read_input
from moat_det.data.images.reduced import decoding_factor
from moat_det.data.images.resize import resize
from moat_det.data.loader.broken import BrokenImageError, BrokenImages, OnBroken
from moat_det.data.loader.image_cache import Image, ImageCache, open_image_cache
from moat_det.data.sizes.native import PADDING, NativeSize
from moat_det.data.sizes.shape import Shape, fit
from moat_det.errors import UserError

_KEPT_BYTES = 512 << 20  # of the images that were read last, in each worker
_NO_FILE = Path(os.devnull, "none.npy")  # cannot exist


class ImageDataset(YOLODataset):
    """The engine's dataset with our reading.

    A subclass fills `im_files`, `labels` (with `shape`, the (h, w) of the file), `intensity` and `broken` in
    `get_img_files` and `get_labels`.

    Attributes:
        intensity: How images of more than 8 bits become the model's input.
        native: The size of each image where it is not `imgsz`; for evaluation only.
        shape: Height and width that an image is scaled to fit into, and that samples have without `rect`.
        fixed_shape: Whether all samples have that shape, in evaluation too.
        seed: Of the random choices; with the epoch and the image it decides each.
        on_broken: What stands in for an image that can no longer be read.
        broken: Which images could not be read, in any worker.
        image_cache: The scaled images on the disk, with `cache="disk"`.
    """

    im_files: list[str]
    intensity: Intensity
    broken: BrokenImages
    image_cache: ImageCache | None = None

    def __init__(
        self,
        *args: Any,
        imgsz: int,
        native: NativeSize | None = None,
        shape: Shape | None = None,
        seed: int = 0,
        on_broken: OnBroken = "refuse",
        cache: bool | str | None = None,
        **kwargs: Any,
    ) -> None:
        """Take the engine's arguments of `YOLODataset` and those that the attributes name."""
        self.native = native
        self.shape = shape or (imgsz, imgsz)
        self.fixed_shape = shape is not None
        self.seed = seed
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._kept_bytes = 0
        on_disk = str(cache).lower() == "disk"
        # What is broken already when the images are put into memory cannot be replaced there, but when it is asked for.
        self.on_broken: OnBroken = "gray" if on_broken == "replace" else on_broken
        super().__init__(*args, imgsz=imgsz, cache=None if on_disk else cache, **kwargs)
        self.on_broken = on_broken
        if on_disk:
            targets = np.array([self._scaled_size(label["shape"]) for label in self.labels])
            settings = [self.intensity.to_dict(), self.augment]
            self.image_cache = open_image_cache(
                self.im_files, targets, self.channels, settings, self._read, self.prefix
            )

    @property
    def epoch(self) -> int:
        """The epoch whose random choices are drawn; its setting reaches the workers, between two epochs."""
        return int(self._epoch)

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch.fill_(epoch)

    @property
    def npy_files(self) -> list[Path]:
        """The image.npy caches beside the images: none, or the engine would read and rewrite them."""
        return [_NO_FILE] * len(self.im_files)

    @npy_files.setter
    def npy_files(self, files: list[Path]) -> None:
        pass

    def get_image_and_label(self, index: int) -> dict[str, Any]:
        """Give an image and its boxes; those of another image, drawn for it, where it is broken and to be replaced."""
        try:
            return self._single(index)
        except BrokenImageError as error:
            reason = error
        for other in np.random.default_rng([self.seed, self.epoch, index]).permutation(self.ni).tolist():
            try:
                sample = self._single(other)
            except BrokenImageError:
                continue
            if self.rect:  # the batch is of this shape
                sample["rect_shape"] = self.batch_shapes[self.batch[index]]
            return sample
        raise UserError(f"none of the images can be read any more: {reason}")

    def _single(self, index: int) -> dict[str, Any]:
        return super().get_image_and_label(index)

    def load_image(self, i: int) -> tuple[np.ndarray, tuple[int, int], tuple[int, int]]:
        """Read an image and scale it to fit into `shape`, or not at native size.

        Returns:
            The image (H, W, channels) uint8, BGR where there are three; in training a gray one has one band. Its (h, w)
            in the file and its (h, w) now.

        Raises:
            BrokenImageError: The image cannot be read and is to be replaced.
            UserError: It cannot be read and is to be refused, or too many are broken.
        """
        if self.on_broken == "replace" and i in self.broken:
            raise BrokenImageError(self.im_files[i])
        if self.ims[i] is not None:
            return self.ims[i], self.im_hw0[i], self.im_hw[i]
        image = self.image_cache.get(i) if self.image_cache is not None else None
        if image is None:
            try:
                image = self._read(i)
            except OSError as error:
                image = self._stand_in(i, error)
            if self.augment and self.cache != "ram":
                self._keep(i, *image)
        scaled, size = image
        return scaled, size, (scaled.shape[0], scaled.shape[1])

    def _read(self, i: int) -> Image:
        """Read an image from its file and scale it; raises `OSError` where it is missing or damaged."""
        file, size = self.im_files[i], self.labels[i]["shape"]
        # In training alone: what validation sees is what detection sees.
        factor = decoding_factor(size, self._scaled_size(size)) if self.augment else 1
        image = read_input(file, self.intensity, self.channels, factor, keep_gray=self.augment)
        if factor > 1:
            if (image.shape[0] * factor, image.shape[1] * factor) == size:
                return resize(image, *self._scaled_size(size)), size
            if image.shape[:2] != size:  # another image than the one that was indexed
                image = read_input(file, self.intensity, self.channels, keep_gray=self.augment)
        size = (image.shape[0], image.shape[1])
        return resize(image, *self._scaled_size(size)), size

    def _scaled_size(self, size: Shape) -> Shape:
        return fit(*size, self.shape) if self.native is None else self.native.scaled(*size)

    def _stand_in(self, i: int, error: OSError) -> Image:
        """Give a gray image for one that cannot be read, or raise as `load_image` does."""
        reason = f"{self.im_files[i]}: {error.strerror or error}"
        if self.on_broken == "refuse":
            raise UserError(f"{reason}; replace the image, or take it out of the dataset") from error
        self.broken.add(i, reason)
        if self.on_broken == "replace":
            raise BrokenImageError(reason) from error
        size = self.labels[i]["shape"]
        return np.full((*self._scaled_size(size), self.channels), PADDING, np.uint8), size

    def _keep(self, i: int, scaled: np.ndarray, size: Shape) -> None:
        """Keep the images that were read last: a mosaic may want them again. The engine keeps eight batches."""
        self.ims[i], self.im_hw0[i], self.im_hw[i] = scaled, size, scaled.shape[:2]
        self.buffer.append(i)
        self._kept_bytes += scaled.nbytes
        while self._kept_bytes > _KEPT_BYTES and len(self.buffer) > 1:
            oldest = self.buffer.pop(0)
            self._kept_bytes -= self.ims[oldest].nbytes
            self.ims[oldest], self.im_hw0[oldest], self.im_hw[oldest] = None, None, None
