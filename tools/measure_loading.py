"""Time and memory to load an official archive, beside decompressing it plus torch.load of the same weights (Linux).

Each figure is the median over fresh processes that have imported what they need: seconds, and how far the peak of
the resident memory, as the operating system counts it, rises above what was resident before.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from moat_det.benchmark.measure import MIB, measure
from moat_det.errors import UserError

WAYS = {
    "reader": "our reader, google_crc32c",
    "reader-numpy": "our reader, NumPy's checksums",
    "torch": "tarfile of the archive + torch.load",
}
TIMES_TORCH, SECONDS = 3.0, 0.5  # the goal


def prepare(way: str, archive: Path, saved: Path) -> Callable[[], int]:
    """Import what a way of loading needs; gives the function that loads and returns the bytes of the weights."""
    if way == "reader-numpy":
        sys.modules["google_crc32c"] = None  # type: ignore[assignment]  # as if not installed
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


def save(archive: Path, saved: Path) -> None:
    """Save the weights of an archive as torch does."""
    import torch

    from moat_det.backbones.tensorflow import open_checkpoint

    with open_checkpoint(archive) as checkpoint:
        torch.save({name: torch.from_numpy(checkpoint.read(name)) for name in checkpoint.variables}, saved)


def measure_once(load: Callable[[], int]) -> dict[str, float]:
    """Load once: seconds, rise of the peak of the resident memory in MB, and MB of weights."""
    weights: list[int] = []
    result = measure(lambda: weights.append(load()), repeats=1, warm_up=False)
    return {"seconds": result.seconds[0], "memory": result.growth * MIB / 1e6, "weights": weights[0] / 1e6}


def run(*words: object) -> str:
    """Run this tool in a fresh process."""
    done = subprocess.run([sys.executable, __file__, *map(str, words)], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def compare(archive: Path, repeats: int) -> bool:
    """Print the table; tells whether the goal is reached."""
    results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder, "weights.pt")
        run("--archive", archive, "--save", saved)
        for _ in range(repeats):  # in turns, so that what else the machine does falls on all
            for way in WAYS:
                results[way].append(json.loads(run("--archive", archive, "--save", saved, "--way", way)))
    medians = {
        way: {key: statistics.median(result[key] for result in found) for key in found[0]}
        for way, found in results.items()
    }
    base = medians["torch"]
    print(f"{archive.name}: {base['weights']:.1f} MB of weights, median of {repeats}")
    print(f"{'':36s} {'seconds':>8s} {'ratio':>6s} {'peak MB':>8s} {'ratio':>6s}")
    reached = True
    for way, result in medians.items():
        ratios = {key: result[key] / base[key] for key in ("seconds", "memory")}
        reached &= max(ratios.values()) <= TIMES_TORCH and (way == "torch" or result["seconds"] < SECONDS)
        print(
            f"{WAYS[way]:36s} {result['seconds']:8.3f} {ratios['seconds']:6.2f} {result['memory']:8.1f}"
            f" {ratios['memory']:6.2f}"
        )
    print(f"goal, {TIMES_TORCH:g} times torch and {SECONDS:g} s at most: {'reached' if reached else 'missed'}")
    return reached


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--archive", type=Path, required=True, help="a .tar.gz of a TensorFlow checkpoint")
    parser.add_argument("--repeats", type=int, default=5, help="processes for each figure (default: %(default)s)")
    parser.add_argument("--save", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    try:
        if arguments.way:
            print(json.dumps(measure_once(prepare(arguments.way, arguments.archive, arguments.save))))
        elif arguments.save:
            save(arguments.archive, arguments.save)
        else:
            if not arguments.archive.is_file():
                raise UserError(f"{arguments.archive}: there is no such file")
            sys.exit(0 if compare(arguments.archive, arguments.repeats) else 1)
    except UserError as error:
        print(f"measure_loading: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
