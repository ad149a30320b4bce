"""How many images go through a model at a time: fewer, where the memory is full."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from moat_det.allocator import give_back_freed_memory
from moat_det.engine.batch_statistics import MIN_IMAGES_FOR_BATCH_STATISTICS
from moat_det.engine.recovery.memory import is_out_of_memory
from moat_det.errors import UserError
from moat_det.messages import one_line

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Passes:
    """Does work in passes of so many images as fit into the memory.

    Args:
        images: Of a pass, at most.

    Attributes:
        images: Likewise, halved each time that the memory was full.
    """

    def __init__(self, images: int) -> None:
        self.images = images

    def fit(self, work: Callable[[int], T], undo: Callable[[], object] = lambda: None) -> T:
        """Do some work, once more from its beginning where the memory was full.

        Args:
            work: Takes the images of a pass.
            undo: Takes back what work has left behind that did not come to its end.

        Raises:
            UserError: Not even one image fits.
        """
        while True:
            try:
                return work(self.images)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if self.images < 2:
                    raise UserError(
                        f"not even one image at a time fits into the memory ({one_line(error) or 'full'}): give a "
                        "smaller --imgsz or --backbone"
                    ) from error
            # Out of the handler, since the error holds the tensors of the pass.
            self._halve()
            undo()

    def _halve(self) -> None:
        before, self.images = self.images, self.images // 2
        gc.collect()
        give_back_freed_memory()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        logger.warning(
            f"Out of memory with passes of {before} images: from here on they are of {self.images}, and a step comes "
            "after as many images as before"
            + (
                ""
                if self.images >= MIN_IMAGES_FOR_BATCH_STATISTICS
                else "; so few have no batch statistics of their own, those that the norms have by now are kept"
            )
        )
