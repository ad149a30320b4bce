"""The scaled images of a split in memory, once for all processes that read images."""

from __future__ import annotations

import logging
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from moat_det.data.loader.image_cache import Image

logger = logging.getLogger(__name__)

_SHARED_MEMORY = Path("/dev/shm")


class RamCache:
    """Images in one tensor: a forked worker has it with its parent, another gets it as shared memory.

    Args:
        images: All of them, in their order; the list is emptied on the way.
    """

    def __init__(self, images: list[Image]) -> None:
        self._shapes = [pixels.shape for pixels, _ in images]
        self._sizes = [size for _, size in images]
        self._starts = np.cumsum([0, *(pixels.nbytes for pixels, _ in images)]).tolist()
        self._buffer = torch.empty(self._starts[-1], dtype=torch.uint8)
        images.reverse()
        for start, end in zip(self._starts, self._starts[1:], strict=False):
            self._buffer[start:end] = torch.from_numpy(images.pop()[0].reshape(-1))

    def get(self, index: int) -> Image:
        """Give an image, which is not to be changed."""
        pixels = self._buffer.numpy()[self._starts[index] : self._starts[index + 1]]
        return pixels.reshape(self._shapes[index]), self._sizes[index]

    def __getstate__(self) -> dict[str, Any]:
        """Copy the pixels where the shared memory, which the batches pass through as well, is too small for them."""
        state, needed = self.__dict__.copy(), self._starts[-1]
        room = shutil.disk_usage(_SHARED_MEMORY).free if _SHARED_MEMORY.is_dir() else math.inf
        if not self._buffer.is_shared() and room < 2 * needed:
            logger.warning(f"{_SHARED_MEMORY} is too small for {needed / 1e9:.2f} GB of images: each worker has a copy")
            state["_buffer"] = self._buffer.numpy()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take either form of the pixels."""
        self.__dict__.update(state, _buffer=torch.as_tensor(state["_buffer"]))
