"""One process for each measurement, so that none inherits the memory, the threads or the caches of another."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from moat_det.benchmark.cases import AttentionCase, Case
from moat_det.messages import one_line

SINGLE_PASS = 2048 * 2048 / 1e6
"""Megapixels above which a pass on a CPU is measured once, without warming up: it takes minutes."""


@dataclass(frozen=True)
class Row:
    """A case and what came of it.

    Attributes:
        case: What was measured.
        times: Seconds of each pass.
        before: MiB before the first pass (see `measure.Measurement`).
        growth: MiB by which that grew at the peak of the first pass.
        growth_repeated: The same at the peak of all passes.
        error: Why there are no figures; empty if there are.
    """

    case: Case
    times: list[float] = field(default_factory=list)
    before: float | None = None
    growth: float | None = None
    growth_repeated: float | None = None
    error: str = ""

    @property
    def seconds(self) -> float | None:
        """The median."""
        return median(self.times) if self.times else None


def run_case(case: Case, repeats: int, threads: int) -> Row:
    """Measure a case in a process of its own.

    Args:
        case: What to measure.
        repeats: Passes whose median counts.
        threads: Of the process.
    """
    single = not isinstance(case, AttentionCase) and case.device == "cpu" and case.amount > SINGLE_PASS
    passes = {"repeats": 1, "warm_up": False} if single else {"repeats": repeats, "warm_up": True}
    job = {"kind": type(case).__name__, "case": asdict(case), **passes}
    with tempfile.TemporaryDirectory() as folder:
        job_file, result_file = Path(folder, "job.json"), Path(folder, "result.json")
        job_file.write_text(json.dumps(job), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "moat_det.benchmark.worker", str(job_file), str(result_file)],
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            capture_output=True,
            text=True,
            check=False,
        )
        if not result_file.exists():
            return Row(case, error=_why_it_ended(done))
        result = json.loads(result_file.read_text(encoding="utf-8"))
    if "error" in result:
        return Row(case, error=result["error"])
    return Row(case, result["seconds"], result["before"], result["growth"], result["growth_repeated"])


def _why_it_ended(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode == -9:
        return "killed by the system: out of memory"
    if done.returncode < 0:
        return f"ended by {signal.Signals(-done.returncode).name}"
    lines = done.stderr.strip().splitlines() or ["no reason given"]
    return one_line(lines[-1])
