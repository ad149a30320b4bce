"""`moat tune`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moat_det.benchmark.accuracy.runs import WHERE_IT_RUNS
from moat_det.benchmark.accuracy.sets import split_training
from moat_det.cli.command import Arguments, Command, EngineHelp
from moat_det.cli.commands.train import ENGINE as TRAIN
from moat_det.cli.commands.train import ModelChoice, take_model
from moat_det.cli.processes import DEVICE
from moat_det.cli.shared import DATA, Grouping
from moat_det.data.seeds import SEEDS
from moat_det.detector.build import find_config
from moat_det.detector.peers import is_peer
from moat_det.engine.arguments import engine_options
from moat_det.engine.model import DEFAULT_BACKBONE
from moat_det.engine.train_options import TrainOptions
from moat_det.errors import UserError
from moat_det.files import locked
from moat_det.options import option
from moat_det.tuning.budget import Budget
from moat_det.tuning.recipe import Recipe
from moat_det.tuning.space import default_space, read_space

_DECIDED = {
    "cfg": "give the arguments themselves",
    "exist_ok": "a training is never written over",
    "fraction": "all trials train on the same images",
    "name": "trainings are named by what they are",
    "pretrained": "give --weights",
    "project": "give --out",
    "resume": "a search goes on by itself",
    "save_dir": "give --out",
    "split": "a part of the training images judges",
    "time": "give --minutes or --hours",
    "val": "trials are judged by their epochs",
}
_NOT_SEARCHED = {
    **_DECIDED,
    **dict.fromkeys(WHERE_IT_RUNS, "it changes no result"),
    "amp": "give --amp; all trials have one number format",
    "data": "give --data",
    "epochs": "trials are compared epoch by epoch",
    "imgsz": "AP of images of different sizes is no measure of the settings; search for each size",
    "model": "give --backbone or --model",
    "seed": "give --seed",
}


@dataclass(frozen=True)
class TuneOptions:
    """What is searched, on what, and for how long."""

    data: str = option(..., DATA, metavar="YAML")
    out: Path = option(..., "folder for all of it; the same command goes on with what is there", metavar="FOLDER")
    minutes: float | None = option(None, "time of the search in all, or:")
    hours: float | None = option(None, "time of the search in all")
    trials: int | None = option(None, "search until there are so many trials, if the time lets")
    space: Path | None = option(None, "YAML of what is searched (rates, decay, warm-up, augmentation)", metavar="YAML")
    judge: float = option(0.2, "share of the training images, by groups, that judges the trials and trains nothing")
    prune: bool = option(True, "stop a trial whose best AP is below the median that others had after as many epochs")
    seed: int = option(0, "of the split, the search and the trainings")

    def __post_init__(self) -> None:
        """Check the values."""
        if (self.minutes is None) == (self.hours is None):
            raise UserError("moat tune needs a budget of time: give --minutes or --hours")
        if self.seconds <= 0:
            raise UserError("--minutes and --hours must be above 0")
        if self.trials is not None and self.trials < 1:
            raise UserError(f"--trials {self.trials}: must be 1 or more")
        if not 0 < self.judge < 1:
            raise UserError(f"--judge {self.judge}: must be a share, above 0 and below 1")
        if not 0 <= self.seed < SEEDS:
            raise UserError(f"--seed {self.seed}: must be 0 or more, below {SEEDS}")

    @property
    def seconds(self) -> float:
        """The budget."""
        return 60 * self.minutes if self.minutes is not None else 3600 * (self.hours or 0)


def check_installed() -> None:
    """Raise `UserError` where Optuna is missing."""
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise UserError("moat tune needs Optuna: pip install 'moat_det[tune]' (or pip install optuna)") from None


def _run(arguments: Arguments) -> int:
    check_installed()
    options, group = arguments.take(TuneOptions), arguments.take(Grouping).group
    model = take_model(arguments) or DEFAULT_BACKBONE
    if is_peer(find_config(model)):
        raise UserError(f"--model {model}: moat tune is for models on a backbone, not for the engine's own")
    # No format by the clock: trials differ in what is searched alone.
    given = {"amp": "bf16", **arguments.engine, **arguments.own}
    parameters = read_space(options.space or default_space(), given, _NOT_SEARCHED)
    options.out.mkdir(parents=True, exist_ok=True)
    out = options.out.resolve()
    with locked(out / "tune.lock", f"another moat tune is at work in {out}: waiting for its end"):
        judged = split_training(options.data, out / "sets", options.judge, group, options.seed)
        if not judged.identity["val"]["boxes"]:
            raise UserError(f"--judge {options.judge}: the part that judges has no objects; raise it")
        recipe = Recipe(model, judged, given, options.seed, out / "runs")
        from moat_det.tuning.study import Study

        settings = {**recipe.run({}).settings, "space": [repr(each) for each in parameters], "prune": options.prune}
        epochs = given.get("epochs", engine_options()["epochs"].default)
        study = Study(out, settings, parameters, options.seed, epochs, options.prune)
        return _search(study, recipe, options, out)


def _search(study: Any, recipe: Recipe, options: TuneOptions, out: Path) -> int:
    from moat_det.tuning.comparison import compare
    from moat_det.tuning.plot import plot
    from moat_det.tuning.report import write_best, write_trials
    from moat_det.tuning.search import Search, describe, longest

    budget = Budget(options.seconds, study.spent)
    try:
        Search(study, recipe, budget, options.trials).run()
    finally:  # also where five trainings failed, or of Ctrl-C
        tried = study.tried()
        default = next((each for each in tried if each.state == "trained" and study.is_default(each.values)), None)
        if tried:
            write_trials(out / "trials.csv", tried, recipe)
            plot(out / "tune.png", tried, default, study.importances())
    trained = [each for each in tried if each.state == "trained"]
    if default is None:
        raise UserError(
            f"{options.seconds:.0f} s were too few for the training with the default settings; the same command with "
            "more --minutes or --hours goes on"
        )
    best = max(trained, key=lambda each: each.ap)
    if best is default:
        line = "no trial was judged better than the default settings"
    else:
        compared = compare(recipe, default.values, best.values, budget, longest(tried))
        study.note_spent(budget.spent)
        line = compared.line(best.number)
    write_best(out / "best.yaml", best.values, recipe, line, options.data)
    states = [each.state for each in tried]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("trained", "pruned", "failed"))
    print(f"\n{len(tried)} trials ({counts}); on the part that judges:")
    print(f"  best     AP {best.ap:.3f}  trial {best.number}: {describe(best.values)}")
    print(f"  default  AP {default.ap:.3f}")
    print(f"{line[0].upper()}{line[1:]}.")
    print(f"Settings for moat train --cfg: {out / 'best.yaml'}; all trials: {out / 'trials.csv'}, {out / 'tune.png'}")
    return 0


def _check(given: Mapping[str, Any]) -> None:
    for name, why in _DECIDED.items():
        if name in given:
            raise UserError(f"--{name.replace('_', '-')} {given[name]}: leave it out; {why}")
    if given.get("model") and given.get("backbone"):
        raise UserError("--model and --backbone exclude each other: a model YAML names its own backbone")


COMMAND = Command(
    name="tune",
    run=_run,
    check=_check,
    options=(TuneOptions, Grouping, ModelChoice, TrainOptions),
    about="Trains with other settings again and again, judges each by a part of the training images that is kept "
    "apart, and then compares the best with the default on the data's own val. Any argument of moat train holds for "
    "all trainings, and what is given is not searched.",
    usage="--data YAML --out FOLDER --hours H [--group REGEX] [--space YAML] [--backbone tiny_moat2 --epochs 50 ...]",
    examples=("tune --data defects.yaml --backbone tiny_moat0 --imgsz 320 --epochs 40 --hours 8 --out tuned",),
    engine=EngineHelp(
        main={"device": DEVICE, **{name: TRAIN.main[name] for name in ("model", "imgsz", "rect")}},
        general="epochs imgsz batch workers",
        sections=("Train", "Hyperparameters"),
        defaults=TRAIN.defaults,
    ),
)
