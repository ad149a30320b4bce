#!/usr/bin/env python
"""Draw the demo set at any size: `python tools/make_demo.py --out FOLDER --size 448 448`."""

from __future__ import annotations

import argparse
import sys

from moat_det.demo import generate_demo
from moat_det.errors import UserError


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 after one line on stderr."""
    parser = argparse.ArgumentParser(
        description="Draw the demo set: parts with defects, YOLO labels and COCO annotations.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder to make")
    parser.add_argument("--train", type=int, default=240, metavar="N", help="training images")
    parser.add_argument("--val", type=int, default=80, metavar="N", help="validation images")
    parser.add_argument("--size", type=int, nargs=2, default=[224, 224], metavar=("H", "W"), help="pixels")
    parser.add_argument("--seed", type=int, default=0, help="another seed draws other parts")
    parser.add_argument("--defect-scale", type=float, default=1.0, metavar="F", help="factor on the defects' size")
    args = parser.parse_args(argv)
    try:
        data = generate_demo(args.out, args.train, args.val, tuple(args.size), args.seed, args.defect_scale)
    except UserError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    print(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
