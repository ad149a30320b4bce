"""`moat bench`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moat_det.benchmark.accuracy import process
from moat_det.benchmark.accuracy.runs import Run, plan
from moat_det.benchmark.accuracy.sets import make_sets
from moat_det.cli.command import Arguments, Command, EngineHelp
from moat_det.cli.shared import Grouping
from moat_det.errors import UserError
from moat_det.options import option

_DECIDED = {
    "model": "give --models",
    "seed": "give --seeds",
    "project": "give --out",
    "name": "runs are named by what they are",
    "exist_ok": "a run is never written over",
    "resume": "a run that was cut goes on by itself",
    "split": "the test split is measured, val chooses the checkpoint",
    "cfg": "give the arguments themselves, they name the runs",
    "pretrained": "all models start from random weights",
    "weights": "all models start from random weights",
}


@dataclass(frozen=True)
class BenchOptions:
    """What is compared, and how."""

    data: list[str] = option(..., "dataset YAMLs, or demo", metavar="YAML ...")
    models: list[str] = option(..., "backbones by name, model YAMLs, or models of the engine: yolo11n", metavar="M ...")
    out: Path = option(..., "folder for splits, runs and tables; what is there is kept and used", metavar="FOLDER")
    seeds: list[int] = option([0, 1], "of the trainings", metavar="N ...")
    split_seed: int = option(0, "of the tenth of train that chooses the checkpoint, where the data has no test split")

    def __post_init__(self) -> None:
        """Check the values."""
        if min([*self.seeds, self.split_seed]) < 0:
            raise UserError("--seeds and --split-seed must be 0 or more")


def _run(arguments: Arguments) -> int:
    options, group = arguments.take(BenchOptions), arguments.take(Grouping).group
    sets = make_sets(options.data, options.out / "sets", group, options.split_seed)
    runs = plan(options.models, sets, options.seeds, arguments.engine, options.out / "runs")
    failed = 0
    for number, run in enumerate(runs, 1):
        failed += not _complete(run, f"[{number}/{len(runs)}] {run.label}")
    return int(failed > 0)


def _complete(run: Run, title: str) -> bool:
    """Train and test what is not yet; gives whether all of it is there."""
    state = run.state
    print(f"{title}: {state}", file=sys.stderr, flush=True)
    return (state == "trained" or process.train(run)) and (run.metrics(None) is not None or process.test(run))


def _check(given: Mapping[str, Any]) -> None:
    for name, why in _DECIDED.items():
        if name in given:
            raise UserError(f"--{name.replace('_', '-')} {given[name]}: leave it out; {why}")


COMMAND = Command(
    name="bench",
    run=_run,
    check=_check,
    options=(BenchOptions, Grouping),
    about="Every model learns every set with every seed by one recipe, and is measured on a test split that neither "
    "trained it nor chose its checkpoint. Any argument of moat train is part of the recipe.",
    usage="--data YAML ... --models M ... --out FOLDER [--seeds 0 1] [--group REGEX] [--imgsz 640 --epochs 100 ...]",
    examples=(
        "bench --data steel.yaml boards.yaml --models tiny_moat0 yolo11n yolo26n --imgsz 640 --epochs 100 --out bench",
    ),
    engine=EngineHelp(main={}, general="imgsz epochs batch device workers", sections=("Train", "Hyperparameters")),
)
