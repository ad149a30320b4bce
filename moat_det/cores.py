"""How many cores this process may use."""

from __future__ import annotations

import os


def available_cores() -> int:
    """Give the cores that this process may run on, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


READING_THREADS = min(8, max(1, available_cores() - 1))
"""Threads that read image files side by side; one core is left to whoever waits for them."""


SPINS = 1000
"""Looks that a thread of OpenMP takes before it sleeps; as torch is built, hundreds of thousands.

Two threads on two cores lose a tenth by it on an idle machine, and win a third beside one other program."""


def wait_briefly() -> None:
    """Let threads that compute together sleep while they wait for one another, unless the user has said how they wait.

    It counts before torch is loaded, whose OpenMP runtime looks once; processes that are started inherit it.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)


def computing_threads() -> int:
    """Give the threads that a model computes with: as many as the user allows, else one for each core."""
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(given) if given.isdecimal() and int(given) else available_cores()


def asked_threads() -> int | None:
    """Give the threads that the user asked for, None where that is as many as there are cores, or nothing."""
    threads = computing_threads()
    return None if threads == available_cores() else threads


def threads_of_each(processes: int, asked: int | None) -> int:
    """Give the threads of each of several processes on this machine: `asked`, or a share of its cores."""
    return asked or max(1, available_cores() // processes)
