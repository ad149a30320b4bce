"""Compare our outputs with the official ones: `python -m tools.verify_parity --golden FOLDER`."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

from moat_det.backbones.moat.parity import TOLERANCE, Difference, compare_case, find_cases
from moat_det.files import atomic_write_json
from tools.command import command, make_parser

OUTPUTS = ("stage1", "stage2", "stage3", "stage4", "stage5", "logits", "statistics")


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 1 if a case fails."""
    parser = make_parser(
        "Run golden cases of the official TensorFlow code on our backbone. Each cell is the largest difference, "
        "absolute and relative: in standard deviations of the output, or for the moving statistics of batch norm in "
        "training steps."
    )
    parser.add_argument("--golden", required=True, type=Path, metavar="DIR", help="holds <checkpoint>/<case>.npz")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    args = parser.parse_args(argv)
    return 0 if verify(args.golden, args.json) else 1


def verify(golden: Path, json: Path | None) -> bool:
    """Print a row for each case when it is done, and the largest figure in the end.

    Returns:
        Whether every case passed.
    """
    paths = {f"{path.parent.name}/{path.stem}": path for path in find_cases(golden)}
    width = max(map(len, paths))
    _print_row("case".ljust(width), OUTPUTS, "result")
    _print_row("-" * width, ["-" * 15] * len(OUTPUTS), "------")
    cases = {}
    for name, path in paths.items():
        cases[name] = found = compare_case(path)
        cells = [f"{found[o].absolute:.1e} {found[o].relative:.1e}" if o in found else "" for o in OUTPUTS]
        _print_row(name.ljust(width), cells, "pass" if _passed(found) else "FAIL")
    passed = all(map(_passed, cases.values()))
    outputs = [(d.relative, o, name) for name, found in cases.items() for o, d in found.items() if o != "statistics"]
    largest, output, name = max(outputs)
    print(
        f"{'PASS' if passed else 'FAIL'}: largest difference {largest:.1e} of the standard deviation, "
        f"{output} of {name}; tolerance {TOLERANCE:.0e}"
    )
    if json:
        rows = {name: {o: _plain(d) for o, d in found.items()} for name, found in cases.items()}
        atomic_write_json(json, {"passed": passed, "cases": rows}, indent=2)
    return passed


def _print_row(case: str, cells: Sequence[str], result: str) -> None:
    print("|", " | ".join([case, *(cell.ljust(15) for cell in cells), result]), "|", flush=True)


def _passed(differences: dict[str, Difference]) -> bool:
    return all(difference.passed for difference in differences.values())


def _plain(difference: Difference) -> dict[str, float | bool | None]:
    figures = {"absolute": difference.absolute, "relative": difference.relative}
    return {k: v if math.isfinite(v) else None for k, v in figures.items()} | {"passed": difference.passed}


if __name__ == "__main__":
    sys.exit(main())
