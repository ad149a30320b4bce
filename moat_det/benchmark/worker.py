"""The process of one measurement: `python -m moat_det.benchmark.worker JOB RESULT`, both JSON files.

On its standard output it writes a line when it is ready for a pass, and waits on its input for a line that says that it
is its turn; a last line says that it has written the result.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from moat_det.benchmark.measure import measure
from moat_det.files import atomic_write_json
from moat_det.messages import one_line


def main(job_file: str, result_file: str) -> None:
    """Measure the job's case, and write what it took, or why it failed."""
    if sys.platform == "linux":  # when memory runs out the system shall end this process, and no other one
        Path("/proc/self/oom_score_adj").write_text("1000")
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    turns = _take_output()

    @contextmanager
    def turn() -> Iterator[None]:
        print(file=turns, flush=True)
        sys.stdin.readline()
        yield

    try:
        run = _setup(job)
        settings = job["repeats"], job["warm_up"], job["case"]["device"]
        result = asdict(measure(run, *settings, turn if job["in_turn"] else None))
    except Exception as error:  # whatever it is, it is the result of this measurement
        result = {"error": _reason(error)}
    atomic_write_json(result_file, result)


def _take_output() -> TextIO:
    """Keep the standard output for the turns; what libraries print goes where errors go."""
    kept = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return kept


def _setup(job: dict[str, Any]) -> Callable[[], object]:
    if job["file"]:
        from moat_det.benchmark.runtime_pass import runtime_pass

        return runtime_pass(Path(job["file"]), job["case"]["format"], job["precision"], job["shape"], job["threads"])
    return _torch_pass(job)


def _torch_pass(job: dict[str, Any]) -> Callable[[], object]:
    from moat_det.benchmark.attention import attention_pass
    from moat_det.benchmark.cases import WHOLE, AttentionCase, DetectorCase
    from moat_det.benchmark.passes import detector_pass
    from moat_det.benchmark.sliced import sliced_pass
    from moat_det.engine.device import use_all_cores

    if job["kind"] == AttentionCase.__name__:
        run = attention_pass(AttentionCase(**job["case"]))
    else:
        case = DetectorCase(**job["case"])
        run = detector_pass(case) if case.tiles == WHOLE else sliced_pass(case)
    use_all_cores()  # the engine's imports and models may have taken threads away
    return run


def _reason(error: Exception) -> str:
    text = one_line(error)
    if isinstance(error, MemoryError) or "allocate memory" in text or "out of memory" in text:
        return "out of memory"
    return f"{type(error).__name__}: {text}"


if __name__ == "__main__":
    main(*sys.argv[1:])
