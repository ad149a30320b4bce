"""Refuses a pass that would not fit into the memory, as far as an exported file can tell what it needs."""

from __future__ import annotations

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
        self._passed = 0.0

    def check(self, images: int, shape: Shape, file: str) -> None:
        """Check a batch; one that needs no more than one that fitted is taken to fit.

        Args:
            images: In the batch.
            shape: Height and width of each.
            file: The file that the batch is of, or the first of them.

        Raises:
            DoesNotFit: It does not fit.
        """
        height, width = shape
        one = self._metadata.needed_memory(height * width)  # which a large image needs more of than many small ones
        needed = images * one
        if needed <= self._passed:
            return
        free = int(USABLE * free_memory())
        if needed > free:
            ways = []
            if images > 1 and one <= free:
                ways.append(f"--batch {free // int(one)}")
            varies = self._metadata.shape is None
            if varies and (way := self._sizes.smaller(height, width, min(0.9 * free / needed, 0.9))):
                ways.append(way)
            otherwise = "free some memory" if varies else "export it at a smaller --imgsz"
            raise DoesNotFit(
                f"{file}: {width} x {height}{f', {images} images at once,' if images > 1 else ''} needs about "
                f"{gigabytes(needed)} of memory, {gigabytes(free)} can be used: "
                + (f"{' or '.join(ways)} would fit" if ways else otherwise)
            )
        self._passed = needed
