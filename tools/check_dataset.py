#!/usr/bin/env python
"""Look for everything that may be wrong with a dataset: `python tools/check_dataset.py --data defects.yaml`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ultralytics.utils.files import increment_path

from moat_det.checks.fix import write_fixed
from moat_det.checks.html import html_report
from moat_det.checks.report import json_report, text_report
from moat_det.checks.run import check_dataset
from moat_det.data.convert import check_free
from moat_det.errors import UserError
from moat_det.files import atomic_write_json, atomic_write_text, check_writable


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 clean, 1 warnings, 2 errors, or what cannot be read at all."""
    parser = argparse.ArgumentParser(
        description="Look for everything that may be wrong with a dataset, and recommend how to train it. It only "
        "reads. Exit code: 0 clean (notes are allowed), 1 warnings, 2 errors.",
        allow_abbrev=False,
    )
    parser.add_argument("--data", required=True, metavar="YAML", help="the dataset, as train.py takes it")
    parser.add_argument(
        "--out", metavar="FOLDER", help="where report.html and report.json go (default: runs/check/NAME, numbered)"
    )
    parser.add_argument(
        "--group",
        metavar="REGEX",
        help="images with the same match in their names (its first group, else all of it) belong into one split, e.g. "
        "'^(board\\d+)_'",
    )
    parser.add_argument("--fix", metavar="FOLDER", help="write a corrected copy there; not there yet, or empty")
    args = parser.parse_args(argv)
    try:
        if args.fix:
            check_free(Path(args.fix))
        if args.out:
            check_writable(Path(args.out))  # before the images are read
        check = check_dataset(args.data, args.group)
        print(text_report(check))
        out = Path(args.out or increment_path(Path("runs/check", _name(check.data["yaml_file"]))))
        atomic_write_json(out / "report.json", json_report(check), indent=1)
        atomic_write_text(out / "report.html", html_report(check))
        print(f"\n{out / 'report.html'}")
        if args.fix:
            changes = write_fixed(check, args.fix)
            print(
                f"{args.fix}: a corrected copy with {len(changes)} changes, listed in {Path(args.fix, 'changes.txt')}"
            )
    except UserError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        place = args.out or "runs/check"
        reason = error.strerror or error
        print(f"{parser.prog}: error: {place}: cannot be written ({reason}); name another --out", file=sys.stderr)
        return 2
    return int(check.severity)


def _name(file: str) -> str:
    """What a dataset is called: its YAML, or the folder where that is data.yaml."""
    path = Path(file)
    return path.parent.name if path.stem == "data" else path.stem


if __name__ == "__main__":
    sys.exit(main())
