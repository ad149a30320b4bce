"""One process for each measurement, so that none inherits the memory, the threads or the caches of another.

What is to be compared is measured side by side: all load their model, and then take turns, a pass each, so that what
else the machine does falls on all of them alike.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from moat_det.benchmark.cases import TORCH, AttentionCase, Case, DetectorCase, parse_size
from moat_det.messages import one_line

SINGLE_PASS = 2048 * 2048 / 1e6
"""Megapixels above which a pass on a CPU is measured once, without warming up: it takes minutes."""

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "int8": "int8"}  # what the runtimes call the number formats


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

    @property
    def whole(self) -> float | None:
        """MiB at the peak, with all that was there before."""
        return None if self.before is None or self.growth_repeated is None else self.before + self.growth_repeated


def side_by_side(cases: Iterable[Case]) -> list[list[Case]]:
    """Group cases that are measured in turns: detection on images of one size, or attention on maps of one.

    Those whose memory may not be there twice are alone: training, and large images.
    """

    def group(item: tuple[int, Case]) -> object:
        number, case = item
        if case.mode == "train" or _is_single(case):
            return number
        return case.cells if isinstance(case, AttentionCase) else case.imgsz

    found: dict[object, list[Case]] = {}
    for item in enumerate(cases):
        found.setdefault(group(item), []).append(item[1])
    return list(found.values())


def run_case(case: Case, repeats: int, threads: int) -> Row:
    """Measure a case in a process of its own.

    Args:
        case: What to measure.
        repeats: Passes whose median counts.
        threads: Of the process.
    """
    return run_cases([case], repeats, threads)[0]


def run_cases(
    cases: Sequence[Case],
    repeats: int,
    threads: int,
    file_of: Callable[[DetectorCase], Path] | None = None,
    step: Callable[[], object] = lambda: None,
) -> list[Row]:
    """Measure cases in processes of their own, which take turns.

    Args:
        cases: What to measure.
        repeats: Passes whose median counts.
        threads: Of each process.
        file_of: Gives the exported file of a case; needed where one is not of torch.
        step: Called when a process is ready, and after each turn of one.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        workers: list[_Worker | Row] = []
        for number, case in enumerate(cases):
            job = _job(case, repeats, threads, in_turn=len(cases) > 1)
            try:
                if isinstance(case, DetectorCase) and case.format != TORCH:
                    assert file_of is not None
                    job["file"] = str(file_of(case))
            except Exception as error:  # of whatever writes the file: it is the result of this measurement
                workers.append(Row(case, error=f"{type(error).__name__}: {one_line(error)}"))
                continue
            workers.append(stack.enter_context(_Worker(case, job, folder / str(number))))
            step()
        turns = [worker for worker in workers if isinstance(worker, _Worker)]
        while any(worker.waits for worker in turns):
            for worker in turns:
                if worker.waits:
                    worker.take_turn()
                    step()
        return [worker if isinstance(worker, Row) else worker.row() for worker in workers]


def _is_single(case: Case) -> bool:
    return isinstance(case, DetectorCase) and case.device == "cpu" and case.amount > SINGLE_PASS


def _job(case: Case, repeats: int, threads: int, in_turn: bool) -> dict[str, Any]:
    """Say what a process is to do (see `worker`)."""
    passes = {"repeats": 1, "warm_up": False} if _is_single(case) else {"repeats": repeats, "warm_up": True}
    job: dict[str, Any] = {
        "kind": type(case).__name__,
        "case": asdict(case),
        "file": None,
        "in_turn": in_turn,
        **passes,
    }
    if isinstance(case, DetectorCase):
        shape = (case.batch, case.channels, *parse_size(case.imgsz))
        job |= {"precision": _PRECISIONS[case.dtype], "shape": shape}
    return {**job, **passes, "threads": threads}


class _Worker:
    """The process of a case; when it is made it is ready for its first turn, or has ended.

    Attributes:
        waits: Whether it waits for its turn.

    Args:
        case: What it measures.
        job: What it is told.
        folder: For its files; made here.
    """

    def __init__(self, case: Case, job: dict[str, Any], folder: Path) -> None:
        folder.mkdir()
        self._case = case
        self._result, self._errors = folder / "result.json", folder / "errors.txt"
        job_file = folder / "job.json"
        job_file.write_text(json.dumps(job), encoding="utf-8")
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "moat_det.benchmark.worker", str(job_file), str(self._result)],
                env={**os.environ, "OMP_NUM_THREADS": str(job["threads"])},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._wait()

    def take_turn(self) -> None:
        """Let it run a pass, and wait until it is ready for the next, or has ended."""
        assert self._process.stdin is not None
        try:
            print(file=self._process.stdin, flush=True)
        except BrokenPipeError:  # killed meanwhile
            self.waits = False
        else:
            self._wait()

    def _wait(self) -> None:
        assert self._process.stdout is not None
        self.waits = bool(self._process.stdout.readline())

    def row(self) -> Row:
        """Give what came of it, once it has ended."""
        self._process.wait()
        if not self._result.exists():
            errors = self._errors.read_text(encoding="utf-8", errors="replace")
            return Row(self._case, error=_why_it_ended(self._process.returncode, errors))
        result = json.loads(self._result.read_text(encoding="utf-8"))
        if "error" in result:
            return Row(self._case, error=result["error"])
        return Row(self._case, result["seconds"], result["before"], result["growth"], result["growth_repeated"])

    def __enter__(self) -> _Worker:
        """Give it back; it is ended on the way out, whatever it does."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


def _why_it_ended(code: int, errors: str) -> str:
    if code == -9:
        return "killed by the system: out of memory"
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    lines = errors.strip().splitlines() or ["no reason given"]
    return one_line(lines[-1])
