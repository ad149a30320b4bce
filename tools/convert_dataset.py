#!/usr/bin/env python
"""Write a dataset in another format: `python tools/convert_dataset.py --from voc --to coco --source xml --out new`."""

from __future__ import annotations

import argparse
import sys

from moat_det.data.convert import convert
from moat_det.errors import UserError


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 after one line on stderr."""
    parser = argparse.ArgumentParser(
        description="Write a dataset in another format, and split it. Images are copied, the source stays as it is.",
        allow_abbrev=False,
    )
    parser.add_argument("--from", dest="source_format", required=True, choices=["voc", "coco", "yolo"])
    parser.add_argument("--to", dest="target_format", required=True, choices=["coco", "yolo"])
    parser.add_argument(
        "--source", required=True, metavar="PATH", help="dataset YAML, COCO JSON, folder of VOC XML, or of YOLO images"
    )
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder to make; not there yet, or empty")
    parser.add_argument(
        "--names", nargs="+", metavar="NAME", help="the classes in their order; a YAML or JSON has them"
    )
    parser.add_argument("--images", metavar="FOLDER", help="where the images of a JSON or of XML files are")
    parser.add_argument("--split", type=float, metavar="SHARE", help="share of the images that becomes train, e.g. 0.8")
    parser.add_argument(
        "--group",
        metavar="REGEX",
        help="images with the same match in their names (its first group, else all of it) stay in one split, e.g. "
        "'^(board\\d+)_'",
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed splits otherwise (default: 0)")
    args = parser.parse_args(argv)
    try:
        if args.split is None and args.group is not None:
            raise UserError("--group needs --split, the share of the images that becomes train")
        data = convert(
            args.source,
            args.source_format,
            args.target_format,
            args.out,
            names=args.names,
            images=args.images,
            train_share=args.split,
            group=args.group,
            seed=args.seed,
        )
    except UserError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    print(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
