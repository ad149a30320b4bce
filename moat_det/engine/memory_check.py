"""Refuses a pass that would not fit into the memory, before the system ends the process."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch

from moat_det.allocator import give_back_freed_memory
from moat_det.data.sizes.policy import SizePolicy
from moat_det.data.sizes.shape import round_up
from moat_det.detector.base import BaseDetector
from moat_det.detector.memory import available_memory, predict_memory
from moat_det.engine.window_chooser import WindowChooser
from moat_det.memory import USABLE, DoesNotFit, gigabytes

# No model of ours takes as much for a pixel of an image: tiny_moat0 takes 220 bytes and moat2 830, which grow with the
# channels. A pass that would fit even so needs no prediction, which takes a second or two the first time.
MOST_BYTES_PER_PIXEL = 8 * 2**10

# As much as a pass needs, times this, stays taken where the allocator keeps what is freed: 1.8 times was measured.
MOST_KEPT = 2.5

Shape = tuple[int, int, int, int]

_LEAST_SHARE = 1e-3  # of a batch or of its pixels: less is no way out


class MemoryCheck:
    """Checks every new shape of a batch against the memory that is free.

    Args:
        model: On its device, in evaluation mode.
        windows: What chooses the model's windows.
        beside: Bytes for a pixel of the input that are kept beside the pass.
    """

    def __init__(self, model: BaseDetector, windows: WindowChooser, beside: int = 0) -> None:
        self._model = model
        self._windows = windows
        self._stride = max(int(model.stride.max()), 32)
        self._device = next(model.parameters()).device
        self._beside = beside
        self._passed = 0

    def check(self, shape: Shape, dtype: torch.dtype, image: str, sizes: SizePolicy) -> None:
        """Check a batch; a shape of no more pixels than one that fitted is taken to fit.

        Args:
            shape: (B, C, H, W) of the batch; the windows are those for this size.
            dtype: Of its images.
            image: The file that the batch is of, or the first of them.
            sizes: What gave the batch its shape, and knows the option that makes it smaller.

        Raises:
            DoesNotFit: It does not fit.
        """
        batch, _, height, width = shape
        pixels = batch * height * width
        if pixels <= self._passed:
            return
        free = int(USABLE * available_memory(self._device))
        if pixels * (MOST_BYTES_PER_PIXEL + self._beside) > free:
            needed = self._predict(shape, dtype)
            if needed * MOST_KEPT > free and self._device.type == "cpu":
                give_back_freed_memory()
                free = int(USABLE * available_memory(self._device))
            if needed > free:
                window = self._windows.window
                ways = " or ".join(self._ways_out(shape, dtype, needed, free, sizes))
                raise DoesNotFit(
                    f"{image}: {width} x {height}{f', {batch} images at once,' if batch > 1 else ''}"
                    f"{'' if window is None else f' with window {window}'} needs about {gigabytes(needed)} of memory, "
                    f"{gigabytes(free)} can be used: "
                    + (f"{ways} would fit" if ways else "use a smaller model, or a machine with more memory")
                )
        self._passed = pixels

    def _ways_out(self, shape: Shape, dtype: torch.dtype, needed: int, free: int, sizes: SizePolicy) -> Iterator[str]:
        """Name what would fit; each is predicted, not guessed."""
        batch, channels, height, width = shape

        def predict(batch: int, height: int, width: int, windows: WindowChooser = self._windows) -> int:
            windows.set(height, width)
            return self._predict((batch, channels, height, width), dtype)

        if batch > 1:
            share = _shrink(needed, free, lambda share: predict(_fewer(batch, share), height, width))
            if share:
                yield f"--batch {_fewer(batch, share)}"
        share = _shrink(needed, free, lambda share: predict(batch, *self._reduced(height, width, share)))
        if share and (way := sizes.smaller(height, width, share)):
            yield way
        for other in self._windows.others():
            needed = predict(batch, height, width, other)
            if needed <= free:
                yield f"--window {other.window} ({gigabytes(needed)})"

    def _predict(self, shape: Shape, dtype: torch.dtype) -> int:
        batch, _, height, width = shape
        return predict_memory(self._model, shape, dtype) + self._beside * batch * height * width

    def _reduced(self, height: int, width: int, share: float) -> tuple[int, int]:
        """Give the shape of an image that is scaled to a share of its pixels."""
        return round_up([side * math.sqrt(share) for side in (height, width)], self._stride)


def _shrink(needed: int, free: int, predict: Callable[[float], int]) -> float | None:
    """Give the share of a batch, or of its pixels, that needs no more than is free; None if it is not found at once."""
    share = 1.0
    for _ in range(5):
        share *= 0.97 * free / needed
        if share < _LEAST_SHARE:
            return None
        needed = predict(share)
        if needed <= free:
            return share
    return None


def _fewer(batch: int, share: float) -> int:
    return max(int(batch * share), 1)
