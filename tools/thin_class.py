"""Make one class of a dataset rare: all but a few of the training images that have it are left out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from moat_det.data.config import kept_keys, load_dataset, reading, split_paths
from moat_det.data.convert import check_free, write_dataset
from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.data.index import open_index
from moat_det.errors import UserError
from moat_det.messages import some
from tools.command import command, make_parser


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = make_parser((__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="dataset YAML")
    parser.add_argument("--out", type=Path, required=True, help="folder to make; the images are copied")
    parser.add_argument("--name", required=True, help="of the class")
    parser.add_argument("--images", type=int, default=24, help="training images with the class that stay")
    parser.add_argument("--seed", type=int, default=0, help="of their choice")
    args = parser.parse_args(argv)
    out = args.out.resolve()
    check_free(out)
    data = load_dataset(args.data)
    numbers = {name: number for number, name in data["names"].items()}
    if args.name not in numbers:
        raise UserError(f"--name {args.name}: {args.data} has no such class; it has {some(list(numbers), 10)}")
    splits = {
        split: list(open_index(split_paths(data, split), data["names"], **reading(data)).images())
        for split in ("train", "val")
    }
    splits["train"] = thin(splits["train"], numbers[args.name], args.images, args.seed)
    write_dataset(out, "yolo", data["names"], splits, kept_keys(data))
    print(out / "data.yaml")
    return 0


def thin(images: Sequence[LabelledImage], rare: int, count: int, seed: int) -> list[LabelledImage]:
    """Give the images without a class, and so many of those with it, in their order.

    Args:
        images: Of the training.
        rare: The number of the class.
        count: Images with it that stay.
        seed: Of their choice.

    Raises:
        UserError: There are not more than so many.
    """
    having = [place for place, image in enumerate(images) if rare in image.classes]
    if not 0 < count < len(having):
        raise UserError(f"--images {count}: {len(having)} training images have the class; give 1 to one less than that")
    left_out = set(np.random.default_rng(seed).permutation(having)[count:].tolist())
    return [image for place, image in enumerate(images) if place not in left_out]


if __name__ == "__main__":
    sys.exit(main())
