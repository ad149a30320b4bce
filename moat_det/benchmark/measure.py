"""Time and peak memory of a pass: of this process as the system counts it, or of a GPU as torch's allocator does."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from moat_det.memory import ProcessMemory

MIB = 2**20


@dataclass(frozen=True)
class Measurement:
    """What passes took.

    Attributes:
        seconds: Of each pass, without the first one that warmed up.
        before: MiB before the first pass: libraries, model, image; on a GPU the tensors that are there.
        growth: MiB by which that grew at the peak of the first pass.
        growth_repeated: The same at the peak of all passes: what an allocator does not get back in one piece adds up
            over the first few. On a GPU what the allocator held, with the pieces that were free.
    """

    seconds: list[float]
    before: float
    growth: float
    growth_repeated: float


def measure(
    run: Callable[[], object],
    repeats: int,
    warm_up: bool,
    device: str = "cpu",
    turn: Callable[[], AbstractContextManager[object]] | None = None,
) -> Measurement:
    """Run passes.

    Args:
        run: A pass.
        repeats: Passes whose time counts.
        warm_up: Run one before them.
        device: Where it runs: "cpu" or "cuda".
        turn: What is entered for each pass, where others compute in turn. They leave the caches theirs, so that every
            pass after the first has one before it that does not count.
    """
    memory = _Gpu() if device == "cuda" else ProcessMemory()
    before = memory.start()
    seconds: list[float] = []
    growths: list[float] = []
    for _ in range(repeats + warm_up):
        with nullcontext() if turn is None else turn():
            if turn is not None and seconds:
                run()
                memory.finish()
            start = time.perf_counter()
            run()
            memory.finish()
            seconds.append(time.perf_counter() - start)
            growths.append((memory.peak() - before) / MIB)
    return Measurement(seconds[warm_up:], before / MIB, growths[0], (memory.held() - before) / MIB)


class _Gpu:
    """The memory that torch's allocator has of the GPU."""

    def __init__(self) -> None:
        import torch  # which a process that runs exported files does without

        self._cuda = torch.cuda

    def start(self) -> int:
        """Forget what was needed while it was set up, and give what the tensors have that are alive."""
        self._cuda.synchronize()
        self._cuda.empty_cache()
        self._cuda.reset_peak_memory_stats()
        return self._cuda.memory_allocated()

    def finish(self) -> None:
        """Wait for what a pass has only queued."""
        self._cuda.synchronize()

    def peak(self) -> int:
        """Give the most bytes of tensors."""
        return self._cuda.max_memory_allocated()

    def held(self) -> int:
        """Give the most bytes that the allocator took, with what lay free between the tensors."""
        return self._cuda.max_memory_reserved()
