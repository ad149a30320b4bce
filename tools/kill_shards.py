"""Detect in many images by shards, kill one of them and start it again: each image must have been done exactly once.

With `--ray` actors take the place of shards: one is killed, which Ray starts again, and later the command itself.
Beside it one process alone does all: for the images per second, and for what is found.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

from moat_det.demo.part import SURFACES, draw_part
from moat_det.detection.shards import DETECTIONS, Shard
from moat_det.errors import UserError
from moat_det.files import atomic_folder, atomic_write_json
from moat_det.progress import progress
from tools.command import command, make_parser

_LOOK_EVERY = 0.05  # seconds


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 1 where an image came more or less than once."""
    parser = make_parser((__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--weights", required=True, help="a checkpoint, or what moat export wrote")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=64, help="of the square images, pixels")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--ray", type=int, default=0, help="actors of Ray, in the place of shards; 0: none")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0, help="of the images, and of the moment of the kill")
    args = parser.parse_args(argv)
    if args.out.exists():
        raise UserError(f"--out {args.out}: it is there already; choose another folder")
    with atomic_folder(args.out / "images") as folder:
        draw(folder, args.images, args.side, args.seed)
    alone = measure(args, [Shard(1, 1)], kill_at=None)
    part = float(np.random.default_rng(args.seed).uniform(0.2, 0.8))
    if args.ray:
        together = measure_actors(args, kill_at=round(part * args.images))
        return tell(args, alone, together)
    shards = [Shard(number, args.shards) for number in range(1, args.shards + 1)]
    together = measure(args, shards, kill_at=round(part * args.images / args.shards))
    return tell(args, alone, together)


def tell(args: argparse.Namespace, alone: dict[str, Any], together: dict[str, Any]) -> int:
    """Write and print what came of it; returns the exit code."""
    found = {
        **compare(alone["lines"], together["lines"], [path.name for path in (args.out / "images").iterdir()]),
        "killed_after": together["killed_after"],
        "images_per_second_alone": round(args.images / alone["seconds"], 1),
        "images_per_second_together": round(args.images / together["seconds"], 1),
    }
    atomic_write_json(args.out / "shards.json", found, indent=1)
    print(json.dumps(found))
    return int(bool(found["missing"] or found["more_than_once"] or found["strange"]))


def draw(folder: Path, images: int, side: int, seed: int) -> None:
    """Draw parts of the demo, each from the seed and its number."""
    for number in progress(range(images), "drawing", unit="image"):
        rng = np.random.default_rng([seed, number])
        image, _, _ = draw_part(rng, (side, side), list(SURFACES)[number % len(SURFACES)], number % 2 == 0)
        cv2.imwrite(str(folder / f"part{number:06}.png"), image)


def measure(args: argparse.Namespace, shards: Sequence[Shard], kill_at: int | None) -> dict[str, Any]:
    """Detect in all images, with a process for each shard; the last one is killed once and started again.

    Args:
        args: Of the command line.
        shards: All of them.
        kill_at: After so many of its images; None kills none.

    Returns:
        The seconds, the start of the processes among them; the lines of all shards; the lines at the kill.
    """
    began = time.monotonic()
    running = {shard: start(args, shard) for shard in shards}
    killed_after = None
    if kill_at is not None:
        last = running[shards[-1]]
        while last.poll() is None and len(lines_of(args, shards[-1])) < kill_at:
            time.sleep(_LOOK_EVERY)
        last.kill()
        if last.wait() == 0:
            raise UserError("the shard had ended before its kill: take more --images")
        killed_after = len(lines_of(args, shards[-1]))
        running[shards[-1]] = start(args, shards[-1])
    if any(process.wait() for process in running.values()):
        raise UserError(f"a shard failed: see the .log files in {args.out}")
    seconds = time.monotonic() - began
    lines = [line for shard in shards for line in lines_of(args, shard)]
    return {"seconds": seconds, "lines": lines, "killed_after": killed_after}


def measure_actors(args: argparse.Namespace, kill_at: int) -> dict[str, Any]:
    """Detect in all images by actors of Ray; one of them is killed, and after as many images again the command.

    Args:
        args: Of the command line.
        kill_at: After so many images, of which half are done when the actor is killed.

    Returns:
        As `measure`.
    """
    began = time.monotonic()
    running = _start(args, "ray", ray=args.ray)
    _wait_for_lines(args, "ray", running, kill_at // 2)
    children = psutil.Process(running.pid).children(recursive=True)
    actors = [each for each in children if "Actor" in " ".join(each.cmdline())]
    if not actors:
        raise UserError(f"no actor is to be seen: see {args.out / 'ray.log'}")
    actors[0].kill()
    _wait_for_lines(args, "ray", running, kill_at)
    running.kill()
    if running.wait() == 0:
        raise UserError("it had ended before its kill: take more --images")
    killed_after = len(_lines(args, "ray"))
    if _start(args, "ray", ray=args.ray).wait():
        raise UserError(f"it failed: see {args.out / 'ray.log'}")
    return {"seconds": time.monotonic() - began, "lines": _lines(args, "ray"), "killed_after": killed_after}


def _wait_for_lines(args: argparse.Namespace, folder: str, running: subprocess.Popen[bytes], number: int) -> None:
    while running.poll() is None and len(_lines(args, folder)) < number:
        time.sleep(_LOOK_EVERY)


def start(args: argparse.Namespace, shard: Shard) -> subprocess.Popen[bytes]:
    """Start a process on a shard."""
    return _start(args, "detect", shard=shard, save="false")


def _start(args: argparse.Namespace, name: str, **others: object) -> subprocess.Popen[bytes]:
    given = {
        **{"weights": args.weights, "source": args.out / "images", "imgsz": args.side, "batch": args.batch},
        **{"conf": 0.05, "project": args.out, "name": name, **others},
    }
    words = [sys.executable, "-m", "moat_det", "detect", *(f"--{key}={value}" for key, value in given.items())]
    shard = others.get("shard")
    with Path(args.out, f"{shard.folder(name) if isinstance(shard, Shard) else name}.log").open("ab") as log:
        return subprocess.Popen(words, stdout=log, stderr=log)


def lines_of(args: argparse.Namespace, shard: Shard) -> list[str]:
    """Give the whole lines that a shard has written so far."""
    return _lines(args, shard.folder("detect"))


def _lines(args: argparse.Namespace, folder: str) -> list[str]:
    file = args.out / folder / DETECTIONS
    return file.read_text(encoding="utf-8").split("\n")[:-1] if file.exists() else []


def compare(alone: Sequence[str], together: Sequence[str], images: Sequence[str]) -> dict[str, int]:
    """Count what came of the images: each must have one line.

    Args:
        alone: The lines of the process that did all.
        together: Those of the shards.
        images: The names of all.
    """
    one, other = ([json.loads(line) for line in lines] for lines in (alone, together))
    names = [line["file_name"] for line in other]
    found = {line["file_name"]: line["detections"] for line in one}
    return {
        "images": len(images),
        "lines": len(names),
        "missing": len(set(images) - set(names)),
        "more_than_once": len(names) - len(set(names)),
        "strange": len(set(names) - set(images)),
        "found_otherwise_than_alone": sum(line["detections"] != found.get(line["file_name"]) for line in other),
        "detections": sum(len(line["detections"]) for line in other),
    }


if __name__ == "__main__":
    sys.exit(main())
