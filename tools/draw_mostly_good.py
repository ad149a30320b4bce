"""Draw a set of parts of the demo, of which as many are good as one likes, to train on mostly good parts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import yaml
from tqdm import tqdm

from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.data.formats.yolo import yolo_text
from moat_det.demo.part import NAMES, SURFACES, draw_part
from moat_det.errors import UserError
from moat_det.files import atomic_folder, atomic_write_text
from moat_det.progress import progress
from tools.command import command, make_parser

_VALIDATION = {"defective": 80, "good": 320}  # parts


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = make_parser((__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--defective", type=int, default=120, help="defective training parts")
    parser.add_argument(
        "--good", type=int, nargs="+", default=[0, 480, 2280], help="good ones beside them, a YAML goodN.yaml for each"
    )
    parser.add_argument("--side", type=int, default=128, help="of the square images, pixels")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args(argv)
    if args.out.exists():
        raise UserError(f"--out {args.out}: it is there already; choose another folder")
    with atomic_folder(args.out) as folder:
        draw(folder, args)
    for good in args.good:
        print(args.out / f"good{good}.yaml")
    return 0


def draw(folder: Path, args: argparse.Namespace) -> None:
    """Write images, labels, a list of the training images for each number of good parts, and the YAMLs."""
    counts = {"train": {"defective": args.defective, "good": max(args.good)}, "val": _VALIDATION}
    total = sum(sum(kinds.values()) for kinds in counts.values())
    with progress(None, "drawing", total, unit="part") as bar:
        files = {
            (split, kind): [_write(folder, split, kind, number, args, bar) for number in range(count)]
            for split, kinds in counts.items()
            for kind, count in kinds.items()
        }
    _list(folder / "val.txt", [*files["val", "defective"], *files["val", "good"]])
    for good in args.good:
        _list(folder / f"good{good}.txt", [*files["train", "defective"], *files["train", "good"][:good]])
        content = {"train": f"good{good}.txt", "val": "val.txt", "names": list(NAMES)}
        atomic_write_text(folder / f"good{good}.yaml", yaml.safe_dump(content, sort_keys=False))


def _write(folder: Path, split: str, kind: str, number: int, args: argparse.Namespace, bar: tqdm) -> str:
    """Draw a part, whose look depends on the seed, its split, its kind and its number alone."""
    rng = np.random.default_rng([args.seed, int(split == "val"), int(kind == "defective"), number])
    size = args.side, args.side
    image, boxes, classes = draw_part(rng, size, list(SURFACES)[number % len(SURFACES)], kind == "defective")
    name = f"{kind}{number:04}"
    picture, label = folder / "images" / split / f"{name}.png", folder / "labels" / split / f"{name}.txt"
    for file in (picture, label):
        file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(picture), image)
    label.write_text(yolo_text(LabelledImage(str(picture), *size, classes, boxes)), encoding="ascii")
    bar.update()
    return f"./images/{split}/{picture.name}"


def _list(file: Path, images: Sequence[str]) -> None:
    atomic_write_text(file, "\n".join(images) + "\n")


if __name__ == "__main__":
    sys.exit(main())
