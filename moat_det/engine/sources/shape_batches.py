"""Batches of images of one shape in the model, from a source of images of any."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np

from moat_det.data.sizes.policy import SizePolicy
from moat_det.errors import UserError


class ShapeBatches:
    """A source of the engine's whose batches are cut where the shape that the images get in the model changes.

    Cameras that are read together stay together, since their place in the batch tells them apart.

    Args:
        loader: The source; all of its attributes are to be had here too.
        batch: Most images in a batch.
        sizes: What gives an image its shape.

    Raises:
        UserError: Cameras that are read together give images that get several shapes.
    """

    def __init__(self, loader: Any, batch: int, sizes: SizePolicy) -> None:
        self._loader = loader
        self._batch = batch
        self._sizes = sizes

    def __getattr__(self, name: str) -> Any:
        """Give what the source has."""
        return getattr(self._loader, name)

    def __len__(self) -> int:
        """Count the batches of the source."""
        return len(self._loader)

    def __iter__(self) -> Iterator[tuple[list[str], list[np.ndarray], list[str]]]:
        """Give paths, images (H, W, 3) and texts for the log."""
        for paths, images, texts in self._loader:
            runs = [len(list(run)) for _, run in groupby(self._sizes.padded(*image.shape[:2]) for image in images)]
            if self._loader.mode == "stream":
                if len(runs) > 1:
                    shapes = sorted({f"{image.shape[1]} x {image.shape[0]}" for image in images})
                    raise UserError(
                        f"--source: cameras of one batch have images of {', '.join(shapes)}; give each a run of its own"
                    )
                yield paths, images, texts
                continue
            start = 0
            for length in runs:
                for first in range(start, start + length, self._batch):
                    part = slice(first, min(first + self._batch, start + length))
                    yield paths[part], images[part], texts[part]
                start += length
