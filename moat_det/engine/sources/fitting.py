"""Batches of a source without the images that do not fit into the memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from moat_det.engine.memory_check import DoesNotFit

logger = logging.getLogger(__name__)


class FittingBatches:
    """A source of which a file is left out, with a word, when one image of it is more than the memory holds.

    A batch of several images that does not fit is the fault of the batch's size, and ends the run; so does an image
    that is all that there is.

    Args:
        loader: The source; all of its attributes are to be had here too.
        check: Raises `DoesNotFit` for a batch, given the paths and the images (H, W, C).
    """

    def __init__(self, loader: Any, check: Callable[[list[str], list[np.ndarray]], None]) -> None:
        self._loader = loader
        self._check = check

    def __getattr__(self, name: str) -> Any:
        """Give what the source has."""
        return getattr(self._loader, name)

    def __len__(self) -> int:
        """Count the batches of the source."""
        return len(self._loader)

    def __iter__(self) -> Iterator[tuple[list[str], list[np.ndarray], list[str]]]:
        """Give paths, images (H, W, C) and texts for the log."""
        too_large: set[str] = set()
        for paths, images, texts in self._loader:
            if len(paths) == 1 and paths[0] in too_large:  # the next frame of a video
                continue
            try:
                self._check(paths, images)
            except DoesNotFit as error:
                if len(paths) > 1 or len(getattr(self._loader, "files", ())) < 2:
                    raise
                too_large.add(paths[0])
                logger.warning(str(error))
            else:
                yield paths, images, texts
