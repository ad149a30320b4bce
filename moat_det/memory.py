"""How much memory this process takes, and may still take."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from moat_det.errors import UserError

USABLE = 0.9
"""The share of it that a pass may need: the rest is for pictures that are read and drawn, and for other processes."""


class DoesNotFit(UserError):
    """A pass needs more memory than there is; the message says what would fit."""


def free_memory() -> int:
    """Give the bytes that are left of the machine and of its control groups."""
    return max(0, min([psutil.virtual_memory().available, *_control_group_headrooms()]))


def gigabytes(size: float) -> str:
    """Say a number of bytes."""
    return f"{size / 1e9:.3g} GB"


class ProcessMemory:
    """The real memory of this process."""

    def start(self) -> int:
        """Forget what it needed while it was set up, and give what it has. Linux alone can forget."""
        if sys.platform == "linux":
            Path("/proc/self/clear_refs").write_text("5")
        return psutil.Process().memory_info().rss

    def finish(self) -> None:
        """Do nothing: nothing is computed any more when a pass returns."""

    def peak(self) -> int:
        """Give the most bytes that it has had."""
        if sys.platform == "linux":
            status = Path("/proc/self/status").read_text().splitlines()
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
        if sys.platform == "win32":
            return psutil.Process().memory_info().peak_wset
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    held = peak


def _control_group_headrooms(
    membership: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> Iterator[int]:
    """Give what the limits of containers and services leave, of this process's group and those around it."""
    if not membership.is_file():
        return
    for line in membership.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2
            base, limit_file, usage_file, cache = root, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            base, limit_file = root / "memory", "memory.limit_in_bytes"
            usage_file, cache = "memory.usage_in_bytes", "total_inactive_file"
        else:
            continue
        group = base / path.lstrip("/")
        for folder in (group, *group.parents):
            limit = folder / limit_file
            if limit.is_file() and (text := limit.read_text().strip()) != "max":
                statistics = dict(row.split() for row in (folder / "memory.stat").read_text().splitlines())
                used = int((folder / usage_file).read_text()) - int(statistics.get(cache, 0))
                yield int(text) - used
            if folder == base:
                break
