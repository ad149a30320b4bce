"""Batches of a source without the images that do not fit into the memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from moat_det.memory import DoesNotFit

logger = logging.getLogger(__name__)


class FittingBatches:
    """A source of which a file is left out, with a word, when one image of it is more than the memory holds.

    A batch of several images that does not fit is the fault of the batch's size, and ends the run; so does a source of
    which nothing fits.

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
        """Give paths, images (H, W, C) and texts for the log.

        Raises:
            DoesNotFit: A batch of several images, or all that there is.
        """
        too_large: dict[str, DoesNotFit] = {}
        fitted = False
        for paths, images, texts in self._loader:
            if len(paths) == 1 and paths[0] in too_large:  # the next frame of a video
                continue
            try:
                self._check(paths, images)
            except DoesNotFit as error:
                if len(paths) > 1:
                    raise
                too_large[paths[0]] = error
                logger.warning(str(error))
            else:
                fitted = True
                yield paths, images, texts
        if too_large and not fitted:
            raise next(iter(too_large.values()))
