"""How many cores this process may use."""

from __future__ import annotations

import os


def available_cores() -> int:
    """Give the cores that this process may run on, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


READING_THREADS = min(8, max(1, available_cores() - 1))
"""Threads that read image files side by side; one core is left to whoever waits for them."""


def computing_threads() -> int:
    """Give the threads that a model computes with: as many as the user allows, else one for each core."""
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(given) if given.isdecimal() and int(given) else available_cores()
