"""Cut the images of a dataset into tiles: a set of small parts, most of them good, from a few large images."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from moat_det.data.config import kept_keys, load_dataset, reading, split_paths
from moat_det.data.convert import check_free, write_dataset
from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.data.images.read import read_image
from moat_det.data.index import open_index
from moat_det.detection.output_names import OutputNames, common_folder
from moat_det.errors import UserError
from moat_det.progress import progress
from tools.command import command, make_parser

LEAST = 0.5
"""Of a box of which less lies in a tile, the piece is a region to ignore: it may show the defect, or nothing of it."""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = make_parser((__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="dataset YAML")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder to make; the tiles' names begin with the image's"
    )
    parser.add_argument("--side", type=int, default=512, help="of a tile, in pixels; those at the edges are smaller")
    parser.add_argument("--splits", nargs="+", default=["train", "val"])
    args = parser.parse_args(argv)
    out = args.out.resolve()
    check_free(out)
    data = load_dataset(args.data)
    if data["channels"] not in {1, 3}:
        raise UserError(f"{args.data}: 'channels: {data['channels']}', and tiles are PNG; give a set of gray or colour")
    with tempfile.TemporaryDirectory() as folder:
        splits = {}
        for split in args.splits:
            index = open_index(split_paths(data, split), data["names"], **reading(data))
            names = OutputNames(common_folder(index.paths))
            images = progress(list(index.images()), f"{split}: cutting", unit="image", leave=False)
            splits[split] = [
                tile for image in images for tile in cut(image, args.side, Path(folder, split, names.base(image.path)))
            ]
        write_dataset(out, "coco", data["names"], splits, kept_keys(data))
    print(out / "data.yaml")
    return 0


def cut(image: LabelledImage, side: int, base: Path) -> Iterator[LabelledImage]:
    """Cut an image, and write its tiles; gives each with what lies in it of the boxes.

    Args:
        image: To cut.
        side: Of a tile, in pixels.
        base: What the names of the tiles begin with; they are PNGs.
    """
    pixels = read_image(Path(image.path))
    base.parent.mkdir(parents=True, exist_ok=True)
    for y in range(0, image.height, side):
        for x in range(0, image.width, side):
            tile = pixels[y : y + side, x : x + side]
            path = base.with_name(f"{base.name}_{y}_{x}.png")
            cv2.imwrite(str(path), tile)
            yield replace(boxes_within(image, x, y, *tile.shape[:2]), path=str(path))


def boxes_within(image: LabelledImage, x: int, y: int, height: int, width: int) -> LabelledImage:
    """Give what lies of the boxes in a tile with its upper left corner at (x, y), in pixels of the tile."""
    whole = image.boxes.reshape(-1, 4) - [x, y, x, y]
    boxes = np.clip(whole, 0, [width, height, width, height])
    area, within = (np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (whole, boxes))
    seen = within > 0
    ignored = image.ignored | (within < LEAST * area)
    return LabelledImage(
        path=image.path,
        height=height,
        width=width,
        classes=image.classes[seen],
        boxes=boxes[seen],
        ignored=ignored[seen],
    )


if __name__ == "__main__":
    sys.exit(main())
