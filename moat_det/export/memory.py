"""The memory that a file needs, measured once where it is written, by which its runtime refuses what does not fit."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from moat_det.data.sizes.shape import Shape
from moat_det.memory import ProcessMemory
from moat_det.runtime.backends import open_backend
from moat_det.runtime.metadata import Metadata


def measure_memory(folder: Path, facts: Metadata) -> list[float]:
    """Give the bytes that a pass takes for a pixel, and for the square of the pixels, of each image.

    A file whose inputs may vary is measured at two sizes: attention over the whole map grows with the square of the
    pixels. All that a file of one shape needs is said of a pixel.

    Args:
        folder: That holds the file.
        facts: Its own.
    """
    backend, memory = open_backend(folder, facts, None), ProcessMemory()
    before = memory.start()

    def growth(shape: Shape) -> int:
        backend(np.zeros((1, facts.channels, *shape), np.uint8))
        return max(memory.peak() - before, 0)

    if facts.shape is not None:
        return [growth(facts.shape) / math.prod(facts.shape), 0.0]
    height, width = facts.largest or (facts.imgsz, facts.imgsz)
    # Two cells of the coarsest level a side: runtimes refuse less.
    quarter = tuple(max(side // 2 // facts.stride, 2) * facts.stride for side in (height, width))
    few, many = math.prod(quarter), height * width
    small, large = growth((quarter[0], quarter[1])), growth((height, width))
    square = max(large / many - small / few, 0) / (many - few) if many > few else 0.0
    square = min(square, large / many**2)
    return [large / many - square * many, square]
