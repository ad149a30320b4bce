"""`moat bench`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moat_det.benchmark.accuracy import process
from moat_det.benchmark.accuracy.costs import Cost, cost_of
from moat_det.benchmark.accuracy.plot import plot
from moat_det.benchmark.accuracy.report import entries, write
from moat_det.benchmark.accuracy.runs import Run, plan
from moat_det.benchmark.accuracy.sets import make_sets
from moat_det.benchmark.accuracy.sliced import check_colour
from moat_det.benchmark.cases import config_name
from moat_det.benchmark.sliced import check_installed
from moat_det.cli.command import Arguments, Command, EngineHelp
from moat_det.cli.shared import Grouping
from moat_det.data.config import load_dataset
from moat_det.data.seeds import SEEDS
from moat_det.detector.build import find_config
from moat_det.detector.peers import is_peer
from moat_det.engine.train_options import TrainOptions
from moat_det.errors import UserError
from moat_det.files import locked
from moat_det.options import option
from moat_det.progress import progress

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
    "weights_by_order": "all models start from random weights",
}
_OF_BACKBONES = ("drop_path", "freeze_backbone", "layer_decay", "window")  # which the engine's own models do not have


@dataclass(frozen=True)
class BenchOptions:
    """What is compared, and how."""

    data: list[str] = option(..., "dataset YAMLs, or demo", metavar="YAML ...")
    models: list[str] = option(..., "backbones by name, model YAMLs, or models of the engine: yolo11n", metavar="M ...")
    out: Path = option(..., "folder for splits, runs and tables; what is there is kept and used", metavar="FOLDER")
    seeds: list[int] = option([0, 1], "of the trainings", metavar="N ...")
    sliced: int | None = option(None, "test also in tiles of N pixels, each image at its own size (SAHI)", metavar="N")
    times: bool = option(True, "measure time and memory of an image; false leaves them to a later call")
    split_seed: int = option(0, "of the tenth of train that chooses the checkpoint, where the data has no test split")

    def __post_init__(self) -> None:
        """Check the values."""
        if min([*self.seeds, self.split_seed]) < 0 or max(self.seeds) >= SEEDS:
            raise UserError(f"--seeds and --split-seed must be 0 or more, and --seeds below {SEEDS}")
        if self.sliced is not None and (self.sliced < 32 or self.sliced % 32):
            raise UserError(f"--sliced {self.sliced}: must be a multiple of 32, the models' largest stride")


def _run(arguments: Arguments) -> int:
    options, group = arguments.take(BenchOptions), arguments.take(Grouping).group
    if options.sliced is not None:
        check_installed()
    options.out.mkdir(parents=True, exist_ok=True)
    with locked(options.out / "bench.lock", f"another moat bench is at work in {options.out}: waiting for its end"):
        return _compare(options, group, arguments)


def _compare(options: BenchOptions, group: str | None, arguments: Arguments) -> int:
    recipe = {**arguments.engine, **arguments.own}
    ways = [None] if options.sliced is None else [None, options.sliced]
    sets = make_sets(options.data, options.out / "sets", group, options.split_seed)
    if options.sliced is not None:  # before hours of training, not after
        for each in sets:
            check_colour(load_dataset(each.yaml_file, "test"))
    runs = plan(options.models, sets, options.seeds, recipe, options.out / "runs")
    for number, run in enumerate(runs, 1):
        print(f"[{number}/{len(runs)}] {run.label}: {run.state}", file=sys.stderr, flush=True)
        if run.state == "trained" or process.train(run):
            for tiles in ways:
                if run.metrics(tiles) is None:
                    process.test(run, tiles)
    found = entries(runs, ways, _costs(runs, ways, options))
    print(write(options.out, found, sets, recipe, arguments.words), end="")
    plot(options.out / "bench.png", found)
    print(f"\nResults in {options.out}")
    return int(any(result is None for entry in found for result in entry.results.values()))


def _costs(
    runs: Sequence[Run], ways: Sequence[int | None], options: BenchOptions
) -> dict[tuple[str, str, int | None], Cost]:
    """Give what each model costs on each set, of those that are trained."""
    threads = int(os.environ["OMP_NUM_THREADS"].split(",")[0])
    trained = {(run.model, run.set.name): run for run in runs if run.state == "trained"}
    jobs = [(key, run, tiles) for key, run in trained.items() for tiles in ways]
    return {
        (*key, tiles): cost_of(run, tiles, threads, options.out / "costs", options.times)
        for key, run, tiles in progress(jobs, "measuring time and memory", unit="model")
    }


def _check(given: Mapping[str, Any]) -> None:
    for name, why in _DECIDED.items():
        if name in given:
            raise UserError(f"--{name.replace('_', '-')} {given[name]}: leave it out; {why}")
    for name in process.JUDGING:
        if name in given and given.get("sliced") is not None:
            raise UserError(f"--{name.replace('_', '-')}: tiles are tested without it; leave it or --sliced out")
    peers = [model for model in given.get("models", ()) if is_peer(find_config(config_name(model)))]
    for name in _OF_BACKBONES:
        if name in given and peers:
            raise UserError(f"--{name.replace('_', '-')}: {peers[0]} has no such thing; leave one of the two out")


COMMAND = Command(
    name="bench",
    run=_run,
    check=_check,
    options=(BenchOptions, Grouping, TrainOptions),
    about="Every model learns every set with every seed by one recipe, and is measured on a test split that neither "
    "trained it nor chose its checkpoint. Any argument of moat train is part of the recipe.",
    usage="--data YAML ... --models M ... --out FOLDER [--seeds 0 1] [--group REGEX] [--imgsz 640 --epochs 100 ...]",
    examples=(
        "bench --data steel.yaml boards.yaml --models tiny_moat0 yolo11n yolo26n --imgsz 640 --epochs 100 --out bench",
    ),
    engine=EngineHelp(main={}, general="imgsz epochs batch device workers", sections=("Train", "Hyperparameters")),
)
