"""Measure how far two processes end from one, beside what rounding alone does: one with its batches' images reversed.

The same training of the demo, in float32 at the normal rate: in one process, in it again, in one that takes the images
of each batch in the other order, and in two gloo processes with `--sync-bn`. Sums in another order differ in the last
digits, and each step lets that grow, by leaps where an anchor point learns another object. Two processes that compute
the right thing are no further from one than the reversed batches are; and with `--double`, in float64, hardly at all.
After some steps, the distance of the weights, relative to the way that they have gone, and the largest of any weight.
At a small constant `--rate`, at which rounding does not grow, that is near what float32 can tell.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from moat_det.benchmark.tables import markdown
from moat_det.demo import generate_demo
from moat_det.engine import model as facade
from moat_det.engine.model import MOAT
from moat_det.engine.trainer import Trainer
from moat_det.errors import UserError
from moat_det.files import atomic_write_text
from moat_det.progress import progress
from tools.command import command, make_parser
from tools.measuring import ROOT

_ONE = "one"
_HOW = {"again": "one process again", "reversed": "batches reversed", "two": "two processes"}
_BATCH, _BATCHES = 8, 5  # images of a batch, batches of an epoch
_SETTINGS: dict[str, Any] = {
    **{"batch": _BATCH, "workers": 0, "plots": False, "val": False, "amp": False, "sync_bn": True, "device": "cpu"},
    **{"verbose": False, "exist_ok": True},
}


class DoubleTrainer(Trainer):
    """Computes in float64, where sums in another order differ by less than 1e-12."""

    def setup_model(self) -> Any:
        """Build the model, in float64."""
        checkpoint = super().setup_model()
        self.model.double()
        return checkpoint

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Move the batch to the device, in float64."""
        batch = super().preprocess_batch(batch)
        return batch | {key: batch[key].double() for key in ("img", "cls", "bboxes")}


class _Ended(Exception):
    """What stops a training after its last step, before float32 comes in with validation."""


def train(job: argparse.Namespace, how: str, file: Path) -> None:
    """Train as one of the processes, which may be the only one; the first leaves the weights by step in `file`."""
    kept: dict[int, torch.Tensor] = {}
    done = 0

    def keep(trainer: Any) -> None:
        if done in (0, *job.steps):
            own = getattr(trainer.model, "module", trainer.model)
            kept[done] = torch.cat([parameter.detach().flatten() for parameter in own.parameters()]).clone()

    def begin(trainer: Any) -> None:
        loader = trainer.train_loader
        if how == "reversed":
            collate = loader.collate_fn
            loader.collate_fn = lambda samples: collate(samples[::-1])
        keep(trainer)

    def end_step(trainer: Any) -> None:
        nonlocal done
        done += 1
        keep(trainer)
        if done == job.steps[-1]:
            if trainer.group.leads:
                torch.save(kept, file)
            raise _Ended

    detector = MOAT(job.model)
    detector.add_callback("on_pretrain_routine_end", begin)
    detector.add_callback("on_train_batch_end", end_step)
    place = {"project": str(file.parent / "runs"), "name": file.stem}
    epochs = math.ceil(job.steps[-1] / _BATCHES)
    data = str(job.out / "demo" / "data.yaml")
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64 if job.double else usual)
    trainer = DoubleTrainer if job.double else Trainer
    try:
        with patch.object(facade, "Trainer", trainer), suppress(_Ended):
            detector.train(data=data, imgsz=job.imgsz, epochs=epochs, seed=job.seeds[0], **place, **settings(job))
    finally:
        torch.set_default_dtype(usual)


def settings(job: argparse.Namespace) -> dict[str, Any]:
    """Give the arguments of the training: the usual recipe, or a constant rate alone."""
    if job.rate is None:
        return _SETTINGS
    constant = {"lr0": job.rate, "lrf": 1.0, "warmup_epochs": 0.0, "weight_decay": 0.0}
    return {**_SETTINGS, **constant, "optimizer": job.optimizer}


def distances(one: Mapping[int, torch.Tensor], other: Mapping[int, torch.Tensor]) -> dict[int, tuple[float, float]]:
    """Give by step how far two trainings are apart.

    Args:
        one: The weights by step, 0 before the first.
        other: The same of another training.

    Returns:
        Relative to the way that the first has gone from its beginning, and the largest difference of a weight.
    """
    found = {}
    for step, weights in one.items():
        if step:
            apart = other[step] - weights
            found[step] = float(apart.norm() / (weights - one[0]).norm()), float(apart.abs().max())
    return found


def table(found: Mapping[str, Sequence[Mapping[int, tuple[float, float]]]]) -> str:
    """Give the distances as Markdown: a row for each step, and the values of all seeds, relative (largest)."""
    rows = []
    for step in next(iter(found.values()))[0]:
        cells = (", ".join("{:.1e} ({:.1e})".format(*each[step]) for each in seeds) for seeds in found.values())
        rows.append([str(step), *cells])
    return markdown(["steps", *(_HOW[how] for how in found)], rows)


def measure(args: argparse.Namespace, seed: int) -> dict[str, dict[int, tuple[float, float]]]:
    """Train in each way with a seed, each in fresh processes; gives the distances by way and step."""
    weights = {}
    for how in (_ONE, *_HOW):
        file = args.out / f"{how}-{seed}.pt"
        launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"] if how == "two" else []
        words = ["--out", args.out, "--model", args.model, "--imgsz", args.imgsz, "--seeds", seed, "--how", how]
        words += ["--steps", *args.steps, *(["--double"] if args.double else [])]
        words += [] if args.rate is None else ["--rate", args.rate, "--optimizer", args.optimizer]
        command = [sys.executable, "-m", *launcher, "tools.measure_ranks", *map(str, words)]
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        with file.with_suffix(".log").open("w") as log:
            done = subprocess.run(command, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": path}, check=False)
        if done.returncode:
            raise UserError(f"a training failed: see {log.name}")
        weights[how] = torch.load(file, weights_only=True)
    return {how: distances(weights[_ONE], weights[how]) for how in _HOW}


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = make_parser((__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--model", default="tiny_moat0", help="a backbone by name, or a model YAML")
    parser.add_argument("--imgsz", type=int, default=64)
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 10, 15, 30], help="after which to look")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--double", action="store_true", help="compute in float64")
    parser.add_argument("--rate", type=float, help="constant, without warm-up and decay; else the usual recipe")
    parser.add_argument("--optimizer", default="AdamW", help="beside --rate")
    parser.add_argument("--how", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    args.out, args.steps = args.out.resolve(), sorted(args.steps)
    if args.how:
        train(args, args.how, args.out / f"{args.how}-{args.seeds[0]}.pt")
        return 0
    if args.out.exists():
        raise UserError(f"--out {args.out}: it is there already; choose another folder")
    generate_demo(args.out / "demo", train=_BATCH * _BATCHES, val=8, size=(args.imgsz, args.imgsz))
    found: dict[str, list[dict[int, tuple[float, float]]]] = {how: [] for how in _HOW}
    for seed in progress(args.seeds, "training", unit="seed"):
        for how, apart in measure(args, seed).items():
            found[how].append(apart)
        atomic_write_text(args.out / "ranks.md", table(found) + "\n")
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
