#!/usr/bin/env python
"""Convert weights to .safetensors: `python tools/convert_weights.py NAME_OR_PATH --out weights/NAME.safetensors`."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from moat_det.backbones.weights import RELEASED
from moat_det.backbones.weights.convert import convert
from moat_det.errors import UserError


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 after one line on stderr."""
    parser = argparse.ArgumentParser(
        description="Write the weights of a backbone as .safetensors, bit for bit, with what they are as metadata.",
        epilog=f"Released checkpoints: {', '.join(RELEASED)}.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "source",
        metavar="NAME_OR_PATH",
        help="a released checkpoint, downloaded if need be; or an official checkpoint (folder, prefix, .index, "
        ".tar.gz), a .pt (state dict of a backbone, or a detector, whose backbone is taken) or a .safetensors",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="file to write, .safetensors")
    parser.add_argument("--backbone", metavar="NAME", help="the variant, where it is not told by the shapes")
    parser.add_argument("--force", action="store_true", help="overwrite FILE")
    args = parser.parse_args(argv)
    logging.basicConfig(format="%(levelname)s: %(message)s")
    try:
        report = convert(args.source, args.out, variant=args.backbone, force=args.force)
    except UserError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    print(*report.lines(), f"written to {args.out}", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
