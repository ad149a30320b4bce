"""Measure what pre-training without labels gives: AP over the share of labels, from scratch and pre-trained.

One pre-training, then a training for each seed, share and start, all of as many steps. No epoch is chosen: a training
is validated after its last one alone. Whatever is finished in --out is taken from there, and what was cut goes on.
"""

from __future__ import annotations

import csv
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from moat_det.benchmark.accuracy.process import run_python
from moat_det.data.config import kept_keys, load_dataset, split_paths
from moat_det.data.images.find import find_split
from moat_det.engine.validator import AP
from moat_det.errors import UserError
from moat_det.files import atomic_write_text
from moat_det.run_folder import last_checkpoint
from tools.command import command, make_parser

_STARTS = ("scratch", "pre-trained")
_WARMUP = 100  # steps, the least that the engine takes


@dataclass(frozen=True)
class Recipe:
    """What all trainings have in common.

    Attributes:
        data: The dataset YAML.
        backbone: By name.
        steps: Of the optimizer.
        batch: Images of a step.
        imgsz: Side of the images in pixels.
        out: Folder of all results.
    """

    data: Path
    backbone: str
    steps: int
    batch: int
    imgsz: int
    out: Path


def write_share(recipe: Recipe, share: float) -> tuple[Path, int]:
    """Write a dataset with a share of the training images: the same for each run, and a part of any larger one.

    Returns:
        The dataset YAML, and the number of training images.
    """
    data = load_dataset(recipe.data)
    images = sorted(find_split(split_paths(data, "train"), data["path"]).images)
    count = max(round(share * len(images)), 1)
    chosen = sorted(images[index] for index in np.random.default_rng(0).permutation(len(images))[:count])
    name = f"share{share:g}"
    atomic_write_text(recipe.out / "sets" / f"{name}.txt", "\n".join(chosen) + "\n")
    kept = kept_keys(data, with_labels=True)
    content = {"train": f"{name}.txt", "val": data["val"], "names": data["names"], **kept}
    file = recipe.out / "sets" / f"{name}.yaml"
    atomic_write_text(file, yaml.safe_dump(content, sort_keys=False))
    return file, count


def train(recipe: Recipe, share: float, seed: int, weights: Path | None) -> float:
    """Train one detector, unless that is done; gives the AP after its last epoch."""
    data, images = write_share(recipe, share)
    steps = math.ceil(images / recipe.batch)
    epochs = max(round(recipe.steps / steps), 1)
    folder = recipe.out / "runs" / f"share{share:g}-{_STARTS[weights is not None]}-seed{seed}"
    results, last = folder / "results.csv", last_checkpoint(folder)
    found = _rows(results)
    if not (len(found) == epochs and (folder / "done").exists()):
        words = ["train", "--resume", str(last)]
        if not last.exists():
            words = ["train", "--data", str(data), "--backbone", recipe.backbone, "--epochs", str(epochs)]
            words += ["--amp", "bf16"]  # no format by the clock: pairs differ in their start alone
            words += ["--batch", str(recipe.batch), "--imgsz", str(recipe.imgsz), "--seed", str(seed)]
            words += ["--val=false", "--plots=false", "--patience", "0", "--warmup-epochs", f"{_WARMUP / steps:g}"]
            words += ["--close-mosaic", str(round(epochs / 10))]
            words += ["--project", str(folder.parent), "--name", folder.name, "--exist-ok"]
            words += ["--weights", str(weights)] if weights else []
        _moat(words)
        atomic_write_text(folder / "done", "")
        found = _rows(results)
    return float(found[-1][AP])


def pretrain(recipe: Recipe, sources: Sequence[Path], epochs: int) -> Path:
    """Pre-train the backbone, unless that is done; gives its checkpoint."""
    folder = recipe.out / "pretrain"
    last, listed = last_checkpoint(folder), recipe.out / "sets" / "unlabelled.txt"
    if not (folder / "done").exists():
        words = ["pretrain", "--resume", str(last)]
        if not last.exists():
            atomic_write_text(listed, "".join(f"{os.path.abspath(source)}\n" for source in sources))
            words = ["pretrain", "--source", str(listed), "--backbone", recipe.backbone, "--epochs", str(epochs)]
            words += ["--batch", str(recipe.batch), "--imgsz", str(recipe.imgsz)]
            words += ["--project", str(recipe.out), "--name", folder.name, "--exist-ok"]
        _moat(words)
        atomic_write_text(folder / "done", "")
    return last


def table(found: dict[tuple[float, str, int], float]) -> str:
    """Give the APs by (share, start, seed) as a table: a row for each share and start, its seeds and their mean."""
    seeds = sorted({seed for _, _, seed in found})
    lines = [
        f"| labels | start | {' | '.join(f'seed {seed}' for seed in seeds)} | mean |",
        "|---" * (len(seeds) + 3) + "|",
    ]
    for share, start in sorted(
        {(share, start) for share, start, _ in found}, key=lambda key: (key[0], key[1] != "scratch")
    ):
        values = [found.get((share, start, seed)) for seed in seeds]
        there = [value for value in values if value is not None]
        shown = ["" if value is None else f"{value:.3f}" for value in values]
        lines.append(f"| {share:.0%} | {start} | {' | '.join(shown)} | {np.mean(there):.3f} |")
    return "\n".join(lines)


def _rows(file: Path) -> list[dict[str, str]]:
    if not file.exists():
        return []
    with file.open(encoding="utf-8", newline="") as opened:
        return [{key.strip(): value for key, value in row.items()} for row in csv.DictReader(opened)]


def _moat(words: Sequence[str]) -> None:
    print("moat", *words, flush=True)
    if run_python(["-m", "moat_det", *words], sys.stderr):
        raise UserError(f"moat {words[0]} ended with an error; the same command goes on from there")


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = make_parser((__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="dataset YAML with the labels")
    parser.add_argument("--source", type=Path, nargs="+", required=True, help="folders of pictures to pre-train on")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results; the same one goes on")
    parser.add_argument("--backbone", default="tiny_moat0")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.05, 0.1, 0.25, 1.0], help="of the labels")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=800, help="of each training")
    parser.add_argument("--pretrain-epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--imgsz", type=int, default=160)
    args = parser.parse_args(argv)
    recipe = Recipe(args.data, args.backbone, args.steps, args.batch, args.imgsz, args.out.resolve())
    weights = pretrain(recipe, args.source, args.pretrain_epochs)
    found: dict[tuple[float, str, int], float] = {}
    for seed in args.seeds:
        for share in sorted(args.shares):
            for start, begin in zip(_STARTS, (None, weights), strict=True):
                found[share, start, seed] = train(recipe, share, seed, begin)
                atomic_write_text(recipe.out / "table.md", table(found) + "\n")
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
