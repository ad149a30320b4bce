"""Images that cannot be read any more: a deleted or cut file, or a share that went away after the split was indexed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from moat_det.errors import UserError
from moat_det.messages import some

logger = logging.getLogger(__name__)

# So many of a split's images may be broken before a training would be one on something else.
_SHARE, _LEAST = 0.1, 10
_SHOWN = 5

OnBroken = Literal["refuse", "replace", "gray"]
"""What happens to an image that can no longer be read: an error, another image in its place, or a gray one."""


class BrokenImages:
    """Which images of a split could not be read, in any of the loader's processes.

    Args:
        images: How many the split has.
    """

    def __init__(self, images: int) -> None:
        self._marks = torch.zeros(images, dtype=torch.uint8).share_memory_()
        self._told = 0

    def __contains__(self, index: int) -> bool:
        """Whether an image, by its position in the split, could not be read."""
        return bool(self._marks[index])

    def add(self, index: int, reason: str) -> None:
        """Mark an image, and log why the first time.

        Args:
            index: Its position in the split.
            reason: The file and what is wrong with it.

        Raises:
            UserError: More than a tenth of the images, and more than 10, are broken.
        """
        if index in self:
            return
        self._marks[index] = 1
        logger.warning(f"broken image: {reason}")
        count, images = int(self._marks.sum()), len(self._marks)
        if count > max(_SHARE * images, _LEAST):
            raise UserError(f"{count} of {images} images can no longer be read, the last is {reason}")

    def report(self, files: Sequence[str], prefix: str = "") -> None:
        """Log how many are broken and which, if there are more than the last time."""
        broken = np.flatnonzero(self._marks.numpy()).tolist()
        if len(broken) == self._told:
            return
        self._told = len(broken)
        names = some([files[i] for i in broken], _SHOWN)
        logger.warning(f"{prefix}{len(broken)} of {len(files)} images are broken: {names}")
