"""Measure what each setting of the recipe is worth: a training for each change of one, paired by seed with the default.

All trainings take the same share of the training images and no epoch is chosen: AP is that of the last one, on the
data's val. A factor is an argument of `moat train`, lr0=0.002, or with a dot a key of the model's YAML, neck.depth=2;
several joined by + are one change. One training runs at a time. What is finished in --out is taken from there, what
was cut goes on: stop it at any time, and give the same command again.
"""

from __future__ import annotations

import argparse
import copy
import json
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from moat_det.benchmark.accuracy.runs import Run, short_name
from moat_det.benchmark.accuracy.sets import BenchSet, take_shares
from moat_det.data.config import load_dataset, reading, split_paths
from moat_det.data.index import open_index
from moat_det.detector.build import find_config
from moat_det.detector.config import parse_config
from moat_det.errors import UserError
from moat_det.files import atomic_write_csv, atomic_write_text, locked
from moat_det.messages import suggest
from moat_det.tuning import training
from moat_det.tuning.space import check_value, default_values
from tools.command import command, make_parser
from tools.paired import Effect, records, spread, table

FACTORS = (
    *("lr0=0.002", "lr0=0.0005", "augmentation=surface", "augmentation=light", "augmentation=none", "mosaic=0"),
    *("close_mosaic=0", "copy_paste=0.3", "progressive=0.5", "ema=0", "ema_tau=200"),
    *("window=7", "backbone.position_embedding=false"),
    *("neck.channels=[64, 128, 192]", "neck.channels=[128, 256, 384]", "neck.depth=2", "head.reach=null"),
    *("assigner.topk=5", "assigner.topk=13", "assigner.alpha=1.0", "assigner.beta=3.0"),
    *("warmup_epochs=0", "warmup_epochs=3", "weight_decay=0.05", "weight_decay=0.005"),
    *("drop_path=0.1", "layer_decay=0.9", "cos_lr=false", "augmentation=board"),
)
"""What is changed unless the user names others, in this order; the values suit a tiny backbone."""

# No epoch is chosen, and no format by the clock: what is compared differs in one thing.
_LAST_EPOCH = {"val": False, "patience": 0, "plots": False, "verbose": False, "amp": "bf16"}


@dataclass(frozen=True)
class Factor:
    """A change of the recipe.

    Attributes:
        name: As the user wrote it.
        arguments: Of `moat train`, by name.
        config: Of the model's YAML, by "section.key".
    """

    name: str
    arguments: Mapping[str, Any]
    config: Mapping[str, Any]

    def config_of(self, model: str) -> dict[str, Any]:
        """Give the configuration of a model with the change.

        Raises:
            UserError: There is no such key, its value is none it takes, or it is the one it has.
        """
        before = {name: value for name, value in find_config(model).items() if name != "yaml_file"}
        config = copy.deepcopy(before)
        for key, value in self.config.items():
            section, _, name = key.partition(".")
            if not isinstance(part := config.setdefault(section, {}), dict):
                raise UserError(f"--factors {self.name}: the model's YAML has no section {section}")
            part[name] = value
        if self.config and parse_config(config, f"--factors {self.name}") == parse_config(before, model):
            raise UserError(f"--factors {self.name}: that is the default of {model}")
        return config


def read_factor(text: str, shared: Mapping[str, Any]) -> Factor:
    """Read a factor.

    Args:
        text: What the user wrote.
        shared: Arguments of all trainings, which are the default here.

    Raises:
        UserError: It is no NAME=VALUE, or names no argument, or gives it a value that it does not take or has.
    """
    arguments: dict[str, Any] = {}
    config: dict[str, Any] = {}
    defaults = {**default_values({}), **shared}
    for part in text.split("+"):
        name, equals, value = part.partition("=")
        place = f"--factors {text}"
        if not equals:
            raise UserError(f"{place}: write NAME=VALUE, such as lr0=0.002 or neck.depth=2")
        try:
            read = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UserError(f"{place}: {value} cannot be read as a value of YAML") from None
        if "." in name:
            config[name] = read
            continue
        if name not in defaults:
            raise UserError(f"{place}: {name} is no argument of moat train{suggest(name, defaults)}")
        if read == defaults[name]:
            raise UserError(f"{place}: that is the default")
        check_value(place, name, read)
        arguments[name] = read
    return Factor(text, arguments, config)


@dataclass(frozen=True)
class Ablation:
    """All trainings.

    Attributes:
        model: A backbone's name, or a model YAML.
        sets: What to train on.
        seeds: Of each training.
        arguments: Of `moat train`, that all have.
        out: The folder of it all.
        of: The class whose AP is compared; None: the mean of all.
    """

    model: str
    sets: Sequence[BenchSet]
    seeds: Sequence[int]
    arguments: Mapping[str, Any]
    out: Path
    of: str | None = None

    def run(self, factor: Factor | None, each: BenchSet, seed: int) -> Run:
        """Give the training with a change, or the default one."""
        arguments = self.arguments if factor is None else {**self.arguments, **factor.arguments}
        model = self.model if factor is None or not factor.config else str(self._write_model(factor))
        return Run(model, each, seed, arguments, self.out / "runs")

    def _write_model(self, factor: Factor) -> Path:
        words = re.sub(r"[^\w.]+", "-", "-".join(f"{key} {value}" for key, value in factor.config.items())).strip("-")
        file = self.out / "models" / f"{short_name(self.model)}-{words}.yaml"
        content = yaml.safe_dump(factor.config_of(self.model), sort_keys=False)
        if not file.exists() or file.read_text(encoding="utf-8") != content:
            atomic_write_text(file, content)
        return file

    def order(self, factors: Sequence[Factor]) -> list[tuple[Factor | None, BenchSet, int]]:
        """Give the trainings in their order: the default ones, then change by change, so that each is soon complete."""
        return [(factor, each, seed) for factor in (None, *factors) for each in self.sets for seed in self.seeds]

    def write(self, factors: Sequence[Factor]) -> str:
        """Write `ablation.md` and `ablation.csv` of what is trained so far; gives the content of the first."""
        parts, rows = [], []
        for each in self.sets:
            default = self._found(None, each)
            changed = {factor.name: self._found(factor, each) for factor in factors}
            effects = [
                Effect(name, default, {seed: ap for seed, ap in found.items() if seed in default})
                for name, found in changed.items()
            ]
            mine = records(each.name, self.seeds, default, effects)
            parts.append(f"{self._heading(each, default)}\n\n{table(mine)}\n")
            rows += mine
        atomic_write_text(self.out / "ablation.md", text := "\n".join(parts))
        atomic_write_csv(self.out / "ablation.csv", list(rows[0]), rows)
        return text

    def _heading(self, each: BenchSet, default: Mapping[int, float]) -> str:
        shared = " ".join(f"{name}={value}" for name, value in self.arguments.items() if name not in _LAST_EPOCH)
        known = spread(default)
        seeds = "one seed" if known is None else f"the default's seeds differ by {known:.3f}"
        return (
            f"**{each.name}**: {short_name(self.model)}, {each.images['train']} images train, AP "
            f"{'' if self.of is None else f'of {self.of} '}on {each.images['val']} after the last epoch; "
            f"{shared}; {seeds}"
        )

    def _found(self, factor: Factor | None, each: BenchSet) -> dict[int, float]:
        runs = {seed: self.run(factor, each, seed) for seed in self.seeds}
        return {seed: self._ap(run) for seed, run in runs.items() if run.state == "trained"}

    def _ap(self, run: Run) -> float:
        """Give AP after the last epoch, which the run's own validation is of too, as it chooses none."""
        if self.of is None:
            return training.epochs_of(run)[-1]
        figures = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))
        return float(figures["per_class"][self.of]["AP"])


def ablate(ablation: Ablation, factors: Sequence[Factor]) -> bool:
    """Train what is not trained yet, one after the other; gives whether all are."""
    planned = ablation.order(factors)
    left = [(factor, ablation.run(factor, each, seed)) for factor, each, seed in planned]
    left = [(factor, run) for factor, run in left if run.state != "trained"]
    print(f"{len(planned) - len(left)} of {len(planned)} trainings are done", file=sys.stderr, flush=True)
    ended_well = True
    for number, (factor, run) in enumerate(left, 1):
        name = "default" if factor is None else factor.name
        line = f"{name} on {run.set.name}, seed {run.seed} ({run.state}): {run.folder}"
        print(f"{line}; {len(left) - number} left after it", file=sys.stderr, flush=True)
        if training.train(run, lambda: True) != "trained":
            ended_well = False
            print(f"it failed: {training.last_words(run)}", file=sys.stderr, flush=True)
        ablation.write(factors)
    return ended_well


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 1 where a training failed, 130 where it was stopped."""
    args = _parse(argv)
    if not 0 < args.share <= 1:
        raise UserError(f"--share {args.share}: must be above 0 and at most 1")
    for name in ("imgsz", "epochs", "batch"):
        if getattr(args, name) < 1:
            raise UserError(f"--{name} {getattr(args, name)}: must be 1 or more")
    shared = {"imgsz": args.imgsz, "epochs": args.epochs, "batch": args.batch, **_LAST_EPOCH}
    factors = [read_factor(text, shared) for text in args.factors]
    for factor in factors:
        factor.config_of(args.model)  # a mistake in the last one shall not wait for the others
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with locked(out / "ablation.lock", f"another ablation is at work in {out}: waiting for its end"):
            sets = take_shares(args.data, out / "sets", args.share, args.group)
            _check_class(args.of, sets)
            ablation = Ablation(args.model, sets, args.seeds, shared, out, args.of)
            ended_well = ablate(ablation, factors)
            print(ablation.write(factors))
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return int(not ended_well)


def _check_class(name: str | None, sets: Sequence[BenchSet]) -> None:
    if name is None:
        return
    for each in sets:
        data = load_dataset(each.yaml_file)
        names = data["names"]
        if name not in names.values():
            raise UserError(f"--of {name}: {each.name} has no such class{suggest(name, names.values())}")
        index = open_index(split_paths(data, "val"), names, **reading(data))
        if name not in {names[number] for number in index.classes[~index.ignored].tolist()}:
            raise UserError(
                f"--of {name}: no label in val of {each.name} is of it, so it has no AP; name another class"
            )


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser((__doc__ or "").splitlines()[0])
    parser.add_argument("--data", nargs="+", action="extend", required=True, help="dataset YAMLs, or demo")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results; the same one goes on")
    parser.add_argument("--imgsz", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--model", default="tiny_moat0", help="a backbone by name, or a model YAML")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--share", type=float, default=0.5, help="of the training images")
    parser.add_argument("--group", help="regular expression of what images that stay together have in common")
    parser.add_argument("--of", metavar="CLASS", help="compare the AP of this class rather than the mean of all")
    parser.add_argument("--factors", nargs="+", default=FACTORS, metavar="NAME=VALUE", help="what is changed")
    return parser.parse_args(argv)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # which lets the training that runs write a checkpoint
    sys.exit(main())
