"""One training of a search, in a process of its own, looked at after each of its epochs."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Callable
from typing import Literal

from filelock import FileLock, Timeout

from moat_det.benchmark.accuracy import process
from moat_det.benchmark.accuracy.runs import Run
from moat_det.engine.validator import AP
from moat_det.run_folder import LOCK

logger = logging.getLogger(__name__)

LOG = "train.log"
"""In a run's folder: what its training has printed."""

End = Literal["trained", "stopped", "failed"]
"""How a training ended; one that was stopped goes on when it is trained again."""

_LOOK_EVERY = 1.0  # seconds


def epochs_of(run: Run) -> list[float]:
    """Give AP after each epoch of a training, as far as it is."""
    try:
        header, *rows = csv.reader((run.folder / "results.csv").read_text(encoding="utf-8").splitlines())
        place = header.index(AP)
    except (FileNotFoundError, ValueError):  # none yet, or empty, or half a header
        return []
    return [float(row[place]) for row in rows if len(row) == len(header)]  # the last may be half written


def last_words(run: Run) -> str:
    """Give the last line that a training has printed."""
    file = run.folder / LOG
    lines = file.read_text(encoding="utf-8", errors="replace").split("\n") if file.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it has printed nothing")


def train(run: Run, goes_on: Callable[[], bool], in_time: Callable[[], bool] = lambda: True) -> End:
    """Train a run from the beginning, or go on where it was stopped; what it prints goes into its folder.

    Args:
        run: What to train.
        goes_on: Asked every second: whether the training shall go on.
        in_time: The same of waiting for one that another call left at work in its folder.
    """
    if not _wait_for_another(run, in_time):
        return "stopped"
    if run.state == "trained":
        return "trained"
    words = ["-m", "moat_det", *process.training(run)]  # which makes the folder
    with (run.folder / LOG).open("ab") as log:
        code = process.run_python(words, log, goes_on)
    if code is None:
        return "stopped"
    return "trained" if code == 0 else "failed"


def _wait_for_another(run: Run, in_time: Callable[[], bool]) -> bool:
    """Wait for a training that has outlived the process that began it; gives whether it has ended in time."""
    if not run.folder.exists():
        return True
    lock, said = FileLock(run.folder / LOCK), False
    while True:
        try:
            with lock.acquire(timeout=0):
                return True
        except Timeout:
            if not said:
                logger.warning(f"{run.folder}: an earlier call left this training at work: waiting for its end")
            said = True
            time.sleep(_LOOK_EVERY)
            if not in_time():
                return False
