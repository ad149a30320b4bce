"""Trainings and tests, each a command of its own in a process of its own, whose words anybody can give again."""

from __future__ import annotations

import json
import logging
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from moat_det.benchmark.accuracy.runs import WHERE_IT_RUNS, Run
from moat_det.benchmark.cases import config_name
from moat_det.files import atomic_write_json

logger = logging.getLogger(__name__)

JUDGING = ("agnostic_nms", "classes", "conf", "iou", "max_det")
"""Arguments of a training by which its validation finds and judges; the test has them too."""

_LOOK_EVERY = 1.0  # seconds
_TO_END = 120.0  # seconds that a training gets to finish its batch and write `last.pt`


def train(run: Run) -> bool:
    """Train from the beginning, or go on where an earlier process was stopped; gives whether it ended well."""
    return _moat(training(run))


def training(run: Run) -> list[str]:
    """Give the words of `moat` that train, from the beginning or from where an earlier process was stopped."""
    if run.state == "cut":
        place = {name: value for name, value in run.arguments.items() if name in WHERE_IT_RUNS}
        return _words("train", {"resume": run.last, "data": run.set.yaml_file, **place})
    run.folder.mkdir(parents=True, exist_ok=True)
    atomic_write_json(run.folder / "bench.json", run.settings, indent=2)
    words = {
        "model": config_name(run.model),
        "data": run.set.yaml_file,
        **run.arguments,
        "seed": run.seed,
        "project": run.folder.parent,
        "name": run.folder.name,
        "exist_ok": True,
    }
    return _words("train", words)


def test(run: Run, tiles: int | None) -> bool:
    """Measure the best checkpoint on the test, whole or in tiles of so many pixels; gives whether it ended well."""
    return _test_whole(run) if tiles is None else _test_sliced(run, tiles)


def _test_whole(run: Run) -> bool:
    given = {name: value for name, value in run.arguments.items() if name in {*JUDGING, "device", "workers", "verbose"}}
    folder = run.test_folder(None)
    words = {
        "weights": run.best,
        "data": run.set.yaml_file,
        "split": "test",
        "plots": False,
        **given,
        "project": folder.parent,
        "name": folder.name,
        "exist_ok": True,
    }
    return _moat(_words("val", words))


def _test_sliced(run: Run, tiles: int) -> bool:
    folder = run.test_folder(tiles)
    job = {
        "weights": str(run.best),
        "data": str(run.set.yaml_file),
        "tile": tiles,
        "folder": str(folder),
        "device": run.arguments.get("device"),
    }
    file = folder / "job.json"
    atomic_write_json(file, job, indent=2)
    return _python("-m", "moat_det.benchmark.accuracy.sliced", str(file))


def _words(command: str, arguments: Mapping[str, Any]) -> list[str]:
    words = [command]
    for name, value in arguments.items():
        flag = f"--{name.replace('_', '-')}"
        # Names are words of their own; numbers stand in one.
        is_names = isinstance(value, list) and all(isinstance(each, str) for each in value)
        words += [flag, *value] if is_names else [f"{flag}={_spelled(value)}"]
    return words


def _moat(words: Sequence[str]) -> bool:
    """Run a command of `moat`; what it prints goes to standard error, since the tables alone are the result."""
    logger.info(f"moat {shlex.join(words)}")
    return _python("-m", "moat_det", *words)


def _python(*words: str) -> bool:
    """Run Python with these words; gives whether it ended well."""
    return run_python(words, sys.stderr) == 0


def run_python(words: Sequence[str], output: IO[Any], goes_on: Callable[[], bool] = lambda: True) -> int | None:
    """Run Python in a process of its own, which ends after a checkpoint where this one is interrupted.

    Args:
        words: Of the command line.
        output: Where what it prints goes.
        goes_on: Asked every second: whether it shall go on.

    Returns:
        Its exit code; None where it did not go on.
    """
    # In a session of its own: Ctrl-C is for this process, which then ends the other.
    started = subprocess.Popen(
        [sys.executable, *words], stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while started.poll() is None and goes_on():
            _wait(started, _LOOK_EVERY)
    finally:
        stopped = started.poll() is None
        if stopped:
            _end(started)
    return None if stopped else started.returncode


def _wait(started: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        started.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(started: subprocess.Popen[bytes]) -> None:
    """End a process after a checkpoint, the hard way where that takes too long or we are hurried."""
    started.terminate()
    try:
        ended = _wait(started, _TO_END)
    except KeyboardInterrupt:
        ended = False
    if not ended:
        started.kill()
        started.wait()


def _spelled(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    # As in YAML, which the window of each stage is read as: [null, null, 14, 7].
    return json.dumps(value) if isinstance(value, (list, tuple)) else str(value)
