"""Time and peak memory of a pass in this process, as the operating system counts it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

MIB = 2**20


@dataclass(frozen=True)
class Measurement:
    """What passes took.

    Attributes:
        seconds: Of each pass, without the first one that warmed up.
        before: MiB of the process before the first pass: libraries, model, image.
        growth: MiB by which the process grew above `before` at the peak of the first pass.
        growth_repeated: The same at the peak of all passes: what the system's allocator does not get back in one piece
            adds up over the first few.
    """

    seconds: list[float]
    before: float
    growth: float
    growth_repeated: float


def measure(run: Callable[[], object], repeats: int, warm_up: bool) -> Measurement:
    """Run passes.

    Args:
        run: A pass.
        repeats: Passes whose time counts.
        warm_up: Run one before them.
    """
    _reset_peak()
    before = psutil.Process().memory_info().rss
    seconds, growths = [], []
    for _ in range(repeats + warm_up):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
        growths.append((_peak() - before) / MIB)
    return Measurement(seconds[warm_up:], before / MIB, growths[0], growths[-1])


def _reset_peak() -> None:
    """Forget what the process needed while it was set up. Linux alone can; elsewhere the peak starts at the process."""
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Most bytes of real memory that the process has had."""
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
