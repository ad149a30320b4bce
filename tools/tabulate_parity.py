"""Print the table of docs/export.md: `python -m tools.tabulate_parity --weights best.pt --data YAML --out DIR`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from moat_det import MOAT
from moat_det.errors import UserError
from moat_det.export.formats import FORMATS
from tools.command import command, make_parser

HEADER = (
    "| format | precision | size [MB] | raw boxes [px] | raw scores | AP | difference [points] | 95 % interval |\n"
    "|---|---|---|---|---|---|---|---|"
)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = make_parser(
        "Export a checkpoint in every format and precision, and print how far each file is from it, as Markdown. What "
        "lies in --out already is not made again."
    )
    parser.add_argument("--weights", type=Path, required=True, help="the checkpoint")
    parser.add_argument("--data", required=True, help="labelled data of its classes")
    parser.add_argument("--images", type=int, default=360, help="how many to compare on")
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    args = parser.parse_args(argv)
    rows = []
    for format, kind in FORMATS.items():
        for precision in kind.precisions:
            folder = args.out / f"{format}_{precision}"
            try:
                if not folder.exists():
                    MOAT(args.weights).export(
                        format=format, precision=precision, data=args.data, images=args.images, out=str(folder)
                    )
            except UserError as error:
                rows.append(f"| {format} | {precision} | not kept: {error} ||||||")
                continue
            rows.append(row(format, precision, folder))
    print("\n".join([HEADER, *rows]))
    return 0


def row(format: str, precision: str, folder: Path) -> str:
    """Give the row of an exported file."""
    report: dict[str, Any] = json.loads((folder / "parity.json").read_text(encoding="utf-8"))
    parity, accuracy = report["parity"], report["accuracy"]
    size = sum(file.stat().st_size for file in folder.iterdir() if file.suffix != ".json") / 1e6
    points = ("-", "-", "-")
    if accuracy is not None:
        low, high = 100 * accuracy["low"], 100 * accuracy["high"]
        points = (f"{100 * accuracy['file']:.2f}", f"{100 * accuracy['difference']:+.2f}", f"{low:+.2f} to {high:+.2f}")
    cells = (format, precision, f"{size:.1f}", f"{parity['box']:.2g}", f"{parity['score']:.2g}", *points)
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
