"""The process of one measurement: `python -m moat_det.benchmark.worker JOB RESULT`, both JSON files."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from moat_det.benchmark.attention import attention_pass
from moat_det.benchmark.cases import WHOLE, AttentionCase, DetectorCase
from moat_det.benchmark.measure import measure
from moat_det.benchmark.passes import detector_pass
from moat_det.benchmark.sliced import sliced_pass
from moat_det.engine.device import use_all_cores
from moat_det.files import atomic_write_json
from moat_det.messages import one_line


def main(job_file: str, result_file: str) -> None:
    """Measure the job's case, and write what it took, or why it failed."""
    if sys.platform == "linux":  # when memory runs out the system shall end this process, and no other one
        Path("/proc/self/oom_score_adj").write_text("1000")
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    try:
        run = _setup(job)
        use_all_cores()  # the engine's imports and models may have taken threads away
        result = asdict(measure(run, job["repeats"], job["warm_up"], job["case"]["device"]))
    except Exception as error:  # whatever it is, it is the result of this measurement
        result = {"error": _reason(error)}
    atomic_write_json(result_file, result)


def _setup(job: dict[str, Any]) -> Callable[[], object]:
    if job["kind"] == AttentionCase.__name__:
        return attention_pass(AttentionCase(**job["case"]))
    case = DetectorCase(**job["case"])
    return detector_pass(case) if case.tiles == WHOLE else sliced_pass(case)


def _reason(error: Exception) -> str:
    text = one_line(error)
    if isinstance(error, MemoryError) or "allocate memory" in text or "out of memory" in text:
        return "out of memory"
    return f"{type(error).__name__}: {text}"


if __name__ == "__main__":
    main(*sys.argv[1:])
