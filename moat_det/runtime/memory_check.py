"""Refuses a pass that would not fit into the memory, as far as an exported file can tell what it needs."""

from __future__ import annotations

import math

from moat_det.data.sizes.policy import SizePolicy
from moat_det.data.sizes.shape import Shape
from moat_det.memory import USABLE, DoesNotFit, free_memory, gigabytes
from moat_det.runtime.metadata import Metadata


class MemoryCheck:
    """Checks every new shape of a batch against the memory that is free.

    Args:
        metadata: Of the artefact, which says what a pixel needs.
        sizes: What gives images their shape, and knows the option that makes it smaller.
    """

    def __init__(self, metadata: Metadata, sizes: SizePolicy) -> None:
        self._metadata, self._sizes = metadata, sizes
        self._passed = 0

    def check(self, images: int, shape: Shape, file: str) -> None:
        """Check a batch; one of no more pixels than one that fitted is taken to fit.

        Args:
            images: In the batch.
            shape: Height and width of each.
            file: The file that the batch is of, or the first of them.

        Raises:
            DoesNotFit: It does not fit.
        """
        (height, width), pixels = shape, images * math.prod(shape)
        if pixels <= self._passed:
            return
        free = int(USABLE * free_memory())
        one = self._metadata.needed_memory(height * width)
        if images * one > free:
            ways = []
            if images > 1 and one <= free:
                ways.append(f"--batch {free // int(one)}")
            if self._metadata.shape is None:
                ways.append(self._sizes.smaller(height, width, min(0.9 * free / (images * one), 0.9)))
            raise DoesNotFit(
                f"{file}: {width} x {height}{f', {images} images at once,' if images > 1 else ''} needs about "
                f"{gigabytes(images * one)} of memory, {gigabytes(free)} can be used: "
                + (f"{' or '.join(ways)} would fit" if ways else "export it at a smaller --imgsz")
            )
        self._passed = pixels
