"""Kill trainings at random moments, go on with them, and compare what they end with: it must be the same to the bit.

Half of the kills wait until a checkpoint is being written. Small parts of the demo in two shapes, with copy-paste, a
mosaic that ends, and checkpoints amid the epochs; with and without `--rect`, with and without processes that read
images.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import yaml

import moat_det.offline  # noqa: F401  (before the engine)
from moat_det.benchmark.tables import markdown
from moat_det.demo import generate_demo
from moat_det.demo.part import NAMES
from moat_det.engine.checkpoint import load_checkpoint
from moat_det.errors import UserError
from moat_det.files import atomic_write_json, atomic_write_text
from moat_det.progress import progress
from moat_det.run_folder import best_checkpoint, last_checkpoint
from tools.command import command, make_parser

_SHAPES = ((64, 64), (64, 96))  # height and width in pixels
_IMAGES = 24  # of each shape, to train on
_MODEL = "backbone: {name: tiny_moat0}\nneck: {channels: [16, 16, 16]}\n"
_TRAINING = {
    **{"imgsz": 64, "batch": 8, "epochs": 3, "copy-paste": 0.5, "close-mosaic": 1, "save-minutes": 0.02},
    **{"plots": "false", "verbose": "false", "device": "cpu", "exist-ok": "true"},
}
_MOST_WRITES = 6  # of which one is killed in
_LATEST = 0.05  # seconds after a file of a checkpoint is seen
_TRIES = 5  # where a training ends before it is killed


@dataclass(frozen=True)
class Case:
    """A training to kill.

    Attributes:
        number: Of the kill; it draws the moment.
        workers: Processes that read images.
        rect: Whether batches take the shapes of their images.
        in_write: Whether to kill while a checkpoint is being written, else at any moment.
    """

    number: int
    workers: int
    rect: bool
    in_write: bool


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        case: What was killed.
        within_write: A checkpoint was being written: half of one was left behind.
        fresh: There was no checkpoint yet, so that the training began again.
        unreadable: Checkpoints that could not be read after the kill.
        resumed: The training went on to its end.
        equal: Its weights and figures are those of the training that nothing killed, to the bit.
        left: Half-written files that lie in the folder at the end.
    """

    case: Case
    within_write: bool
    fresh: bool
    unreadable: int
    resumed: bool
    equal: bool
    left: int


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 1 where a training did not end as it would have."""
    parser = make_parser((__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    args = parser.parse_args(argv)
    if args.out.exists():
        raise UserError(f"--out {args.out}: it is there already; choose another folder")
    given = _draw(args.out)
    cases = list(_cases(args))
    references = {rect: _reference(given, args.out / name, rect) for name, rect in (("square", False), ("rect", True))}
    outcomes = []
    for case in progress(cases, "killing trainings", unit="kill"):
        outcomes.append(_kill(case, given, args.out / f"kill{case.number:02}", *references[case.rect], args.seed))
        atomic_write_json(args.out / "kills.json", [asdict(each) for each in outcomes], indent=1)
        print(outcomes[-1], file=sys.stderr, flush=True)
    print(_table(outcomes))
    return int(not all(each.equal and not each.unreadable and not each.left for each in outcomes))


def _cases(args: argparse.Namespace) -> Iterator[Case]:
    kinds = [(workers, rect) for workers in args.workers for rect in (False, True)]
    for number in range(args.kills):
        workers, rect = kinds[number % len(kinds)]
        yield Case(number, workers, rect, number // len(kinds) % 2 == 1)


def _draw(folder: Path) -> list[str]:
    """Draw the images; gives the words that train on them."""
    places = []
    for height, width in _SHAPES:
        generate_demo(folder / f"{height}x{width}", train=_IMAGES, val=8, size=(height, width))
        places.append(f"{height}x{width}/images")
    content = {split: [f"{place}/{split}" for place in places] for split in ("train", "val")}
    atomic_write_text(folder / "data.yaml", yaml.safe_dump({**content, "names": list(NAMES)}, sort_keys=False))
    atomic_write_text(folder / "small.yaml", _MODEL)
    named = {"data": folder / "data.yaml", "model": folder / "small.yaml", **_TRAINING}
    return [f"--{name}={value}" for name, value in named.items()]


def _reference(given: Sequence[str], run: Path, rect: bool) -> tuple[Path, float]:
    """Train without a kill; gives the folder and the seconds from the first batch or so to the end."""
    training = _start([*given, *_place(run), f"--rect={rect}", "--workers=0"], run)
    began = _wait_for_options(training, run)
    if training.wait():
        raise UserError(f"a training that nothing killed failed: see {run}.log")
    return run, time.monotonic() - began


def _kill(case: Case, given: Sequence[str], run: Path, whole: Path, seconds: float, seed: int) -> Outcome:
    words = [*given, *_place(run), f"--rect={case.rect}", f"--workers={case.workers}"]
    random = np.random.default_rng([seed, case.number])
    for _ in range(_TRIES):
        shutil.rmtree(run, ignore_errors=True)
        training = _start(words, run)
        _wait_for_options(training, run)
        if case.in_write:
            _wait_for_write(training, run, int(random.integers(1, _MOST_WRITES + 1)))
            time.sleep(random.uniform(0, _LATEST))
        else:
            time.sleep(random.uniform(0, seconds))
        training.kill()
        training.wait()
        if not _is_done(run):
            break
    else:
        raise UserError(f"a training ended before its kill {_TRIES} times: see {run}.log")
    within_write = bool(_half_written(run))
    last = last_checkpoint(run)
    unreadable = sum(file.exists() and not _is_readable(file) for file in (last, best_checkpoint(run)))
    fresh = not last.exists()
    again = words if fresh else [f"--resume={last}"]
    resumed = _start(again, run).wait() == 0
    equal = resumed and _figures(run) == _figures(whole) and _are_equal(run, whole)
    return Outcome(case, within_write, fresh, unreadable, resumed, equal, len(_half_written(run)))


def _place(run: Path) -> list[str]:
    return [f"--project={run.parent}", f"--name={run.name}"]


def _start(words: Sequence[str], run: Path) -> subprocess.Popen[bytes]:
    with Path(f"{run}.log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-m", "moat_det", "train", *words], stdout=log, stderr=log)


def _wait_for_options(training: subprocess.Popen[bytes], run: Path) -> float:
    """Wait until the training has its folder; gives the time."""
    while training.poll() is None and not (run / "options.yaml").exists():
        time.sleep(0.01)
    return time.monotonic()


def _wait_for_write(training: subprocess.Popen[bytes], run: Path, number: int) -> None:
    """Wait until the checkpoint of this number, from 1, is being written."""
    seen: set[Path] = set()
    while training.poll() is None and len(seen) < number:
        seen |= set(_half_written(run))
        time.sleep(0.001)


def _half_written(run: Path) -> list[Path]:
    return list(last_checkpoint(run).parent.glob(".*.pt"))


def _is_done(run: Path) -> bool:
    """Whether all was done before the kill: nothing is left to go on with."""
    last = last_checkpoint(run)
    return last.exists() and _is_readable(last) and load_checkpoint(last).training is None


def _is_readable(file: Path) -> bool:
    try:
        load_checkpoint(file)
    except UserError:
        return False
    return True


def _figures(run: Path) -> list[list[str]]:
    """Give the rows of `results.csv` without the time."""
    rows = [row.split(",") for row in (run / "results.csv").read_text(encoding="utf-8").splitlines()]
    return [[*row[:1], *row[2:]] for row in rows]


def _are_equal(run: Path, whole: Path) -> bool:
    """Compare the tensors of both checkpoints."""
    for checkpoint in (last_checkpoint, best_checkpoint):
        one, other = (load_checkpoint(checkpoint(folder)).weights for folder in (run, whole))
        if one.keys() != other.keys() or not all(torch.equal(one[key], other[key]) for key in one):
            return False
    return True


def _table(outcomes: Sequence[Outcome]) -> str:
    heading = (
        "workers",
        "`--rect`",
        "kills",
        "in a write",
        "before a checkpoint",
        "resumed",
        "bit-equal",
        "unreadable",
        "half files left",
    )
    rows = []
    for workers, rect in sorted({(each.case.workers, each.case.rect) for each in outcomes}):
        mine = [each for each in outcomes if (each.case.workers, each.case.rect) == (workers, rect)]
        counts = [
            len(mine),
            sum(each.within_write for each in mine),
            sum(each.fresh for each in mine),
            sum(each.resumed for each in mine),
            sum(each.equal for each in mine),
            sum(each.unreadable for each in mine),
            sum(each.left for each in mine),
        ]
        rows.append([str(workers), "yes" if rect else "no", *map(str, counts)])
    return markdown(heading, rows)


if __name__ == "__main__":
    sys.exit(main())
