"""Measure work in fresh processes: each is a tool started anew, whose last line is a JSON of figures."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from moat_det.benchmark.measure import measure

ROOT = Path(__file__).resolve().parents[1]


def run_once(work: Callable[[], float]) -> dict[str, float]:
    """Do the work once in this process.

    Args:
        work: Gives an amount of its own, such as the bytes that it read.

    Returns:
        "seconds"; "memory", the MiB by which the peak of the resident memory rose above what was resident before;
        and "amount".
    """
    amounts: list[float] = []
    result = measure(lambda: amounts.append(work()), repeats=1, warm_up=False)
    return {"seconds": result.seconds[0], "memory": result.growth, "amount": amounts[0]}


def run_tool(name: str, *words: object, **environment: str) -> Any:
    """Run a tool in a fresh process.

    Args:
        name: Of its module in `tools`.
        words: Its command line.
        environment: Variables that are added.

    Returns:
        What its last line says as JSON.
    """
    command = [sys.executable, "-m", f"tools.{name}", *map(str, words)]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, "PYTHONPATH": path, **environment}
    )
    return json.loads(done.stdout.splitlines()[-1])


def medians(results: Sequence[dict[str, float]]) -> dict[str, float]:
    """Give the median of each figure."""
    return {key: statistics.median(result[key] for result in results) for key in results[0]}
