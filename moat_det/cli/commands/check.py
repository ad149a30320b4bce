"""`moat check`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from moat_det.cli.command import Arguments, Command
from moat_det.cli.shared import Dataset, Grouping
from moat_det.options import option


@dataclass(frozen=True)
class CheckOptions:
    """Where to write."""

    out: Path | None = option(
        None, "where report.html and report.json go (default: runs/check/NAME, numbered)", metavar="FOLDER"
    )
    fix: Path | None = option(None, "write a corrected copy there; not there yet, or empty", metavar="FOLDER")


def _run(arguments: Arguments) -> int:
    from moat_det.checks.fix import write_fixed
    from moat_det.checks.html import html_report
    from moat_det.checks.report import check_replaceable, json_report, text_report
    from moat_det.checks.run import check_dataset
    from moat_det.data.convert import check_free
    from moat_det.errors import UserError
    from moat_det.files import atomic_write_json, atomic_write_text, check_writable, claim_folder

    data, group = arguments.take(Dataset).data, arguments.take(Grouping).group
    options = arguments.take(CheckOptions)
    reports = options.out or Path("runs/check")
    copy = None
    # All that may stand in the way of writing is looked at before the images are read.
    if options.fix:
        copy = Path(os.path.abspath(os.path.expanduser(options.fix)))
        check_free(copy)
        if reports.resolve().is_relative_to(copy.resolve()):
            raise UserError(
                f"--fix {options.fix}: the report is written there first ({reports}); name a folder for the copy alone"
            )
    check_writable(reports)
    check_replaceable(reports)
    check = check_dataset(data, group, copy)
    print(text_report(check))
    out = options.out or claim_folder(reports / _name(check.data["yaml_file"]))
    atomic_write_json(out / "report.json", json_report(check), indent=1)
    atomic_write_text(out / "report.html", html_report(check))
    print(f"\n{out / 'report.html'}")
    if copy:
        changes = write_fixed(check, copy)
        listing = copy / "changes.txt"
        for fault in check.by_kind().get("split_unusable", []):
            print(f"{copy}: without '{fault.split}', which cannot be read: {fault.place}")
        print(f"{copy}: a corrected copy with {len(changes)} changes, listed in {listing}")
    return int(check.severity)


def _name(file: str) -> str:
    """Name a dataset: its YAML, or the folder where that is data.yaml."""
    path = Path(file)
    return path.parent.name if path.stem == "data" else path.stem


COMMAND = Command(
    name="check",
    run=_run,
    options=(Dataset, CheckOptions, Grouping),
    about="It only reads. Exit code: 0 clean (notes are allowed), 1 warnings, 2 errors.",
    examples=("check --data defects.yaml", "check --data boards.yaml --group '^(board\\d+)_' --fix corrected"),
)
