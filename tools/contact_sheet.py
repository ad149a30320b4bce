"""Put pictures side by side on one sheet, the README's picture for instance."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from moat_det.detection.pictures import write_picture
from moat_det.errors import UserError
from moat_det.report.pictures import sheet
from tools.command import command, make_parser

_GAP = 6  # pixels of white between squares


def contact_sheet(paths: list[Path], columns: int, side: int) -> np.ndarray:
    """Draw the pictures in rows, each scaled to fit a square and centred on white.

    Args:
        paths: The picture files, in reading order.
        columns: Pictures in a row.
        side: Side of a square in pixels.

    Returns:
        (H, W, 3) uint8, BGR.

    Raises:
        UserError: A picture cannot be read.
    """
    pictures = []
    for path in paths:
        picture = cv2.imread(str(path))
        if picture is None:
            raise UserError(f"{path} cannot be read as a picture")
        pictures.append(picture)
    return sheet(pictures, columns, (side, side), _GAP)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("pictures", nargs="+", type=Path, help="picture files, in reading order")
    parser.add_argument("--out", required=True, type=Path, help="the sheet to write, .jpg or .png")
    parser.add_argument("--columns", type=int, default=4, help="pictures in a row")
    parser.add_argument("--side", type=int, default=300, help="side of a picture on the sheet, in pixels")
    arguments = parser.parse_args(argv)
    if min(arguments.columns, arguments.side) < 1 or arguments.out.suffix not in {".jpg", ".png"}:
        raise UserError("--columns and --side must be 1 or more, --out must end in .jpg or .png")
    drawn = contact_sheet(arguments.pictures, arguments.columns, arguments.side)
    print(write_picture(arguments.out.with_suffix(""), drawn, suffix=arguments.out.suffix))
    return 0


if __name__ == "__main__":
    sys.exit(main())
