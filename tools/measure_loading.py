"""Time and memory to load an official archive, beside decompressing it plus torch.load of the same weights (Linux).

Each figure is the median over fresh processes that have imported what they need: seconds, and how far the peak of
the resident memory, as the operating system counts it, rises above what was resident before.
"""

from __future__ import annotations

import argparse
import json
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from moat_det.errors import UserError
from tools.command import command, make_parser
from tools.measuring import medians, run_once, run_tool

WAYS = {
    "reader": "our reader",
    "torch": "tarfile of the archive + torch.load",
}
TIMES_TORCH, SECONDS = 3.0, 0.5  # the goal


def prepare(way: str, archive: Path, saved: Path) -> Callable[[], int]:
    """Import what a way of loading needs; gives the function that loads and returns the bytes of the weights."""
    import torch

    from moat_det.backbones.tensorflow import open_checkpoint

    def read() -> int:
        with open_checkpoint(archive) as checkpoint:
            weights = {name: checkpoint.read(name) for name in checkpoint.variables}
        return sum(array.nbytes for array in weights.values())

    def load() -> int:
        with tarfile.open(archive) as tar:
            for member in tar:
                if (file := tar.extractfile(member)) is not None:
                    file.read()
        weights = torch.load(saved, weights_only=True)
        return sum(tensor.nbytes for tensor in weights.values())

    return load if way == "torch" else read


def save(archive: Path, saved: Path) -> int:
    """Save the weights of an archive as torch does; gives the bytes of the file."""
    import torch

    from moat_det.backbones.tensorflow import open_checkpoint

    with open_checkpoint(archive) as checkpoint:
        torch.save({name: torch.from_numpy(checkpoint.read(name)) for name in checkpoint.variables}, saved)
    return saved.stat().st_size


def compare(archive: Path, repeats: int) -> bool:
    """Print the table; tells whether the goal is reached."""
    results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder, "weights.pt")
        run_tool("measure_loading", "--archive", archive, "--save", saved)
        for _ in range(repeats):  # in turns, so that what else the machine does falls on all
            for way in WAYS:
                words = ("--archive", archive, "--save", saved, "--way", way)
                results[way].append(run_tool("measure_loading", *words))
    middle = {way: medians(found) for way, found in results.items()}
    base = middle["torch"]
    print(f"{archive.name}: {base['amount'] / 1e6:.1f} MB of weights, median of {repeats}")
    print(f"{'':36s} {'seconds':>8s} {'ratio':>6s} {'peak MiB':>8s} {'ratio':>6s}")
    reached = True
    for way, result in middle.items():
        ratios = {key: result[key] / base[key] for key in ("seconds", "memory")}
        reached &= max(ratios.values()) <= TIMES_TORCH and (way == "torch" or result["seconds"] < SECONDS)
        print(
            f"{WAYS[way]:36s} {result['seconds']:8.3f} {ratios['seconds']:6.2f} {result['memory']:8.1f}"
            f" {ratios['memory']:6.2f}"
        )
    print(f"goal, {TIMES_TORCH:g} times torch and {SECONDS:g} s at most: {'reached' if reached else 'missed'}")
    return reached


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 1 where the goal is missed."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--archive", type=Path, required=True, help="a .tar.gz of a TensorFlow checkpoint")
    parser.add_argument("--repeats", type=int, default=5, help="processes for each figure")
    parser.add_argument("--save", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.way:
        print(json.dumps(run_once(prepare(arguments.way, arguments.archive, arguments.save))))
    elif arguments.save:
        print(json.dumps(save(arguments.archive, arguments.save)))
    elif not arguments.archive.is_file():
        raise UserError(f"{arguments.archive}: there is no such file")
    else:
        return 0 if compare(arguments.archive, arguments.repeats) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
