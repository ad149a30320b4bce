"""What came out: the table on the terminal, CSV and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from moat_det.benchmark import tables
from moat_det.benchmark.cases import NONE, Case
from moat_det.benchmark.machine import machine, versions
from moat_det.benchmark.runner import Row
from moat_det.errors import UserError
from moat_det.files import atomic_write_csv, atomic_write_json

_FIGURES = {
    "seconds": ("time [s]", ".4g"),
    "memory_mib": ("memory [MiB]", ".0f"),
    "memory_repeated_mib": ("repeated [MiB]", ".0f"),
    "process_mib": ("process [MiB]", ".0f"),
    "time_ratio": ("time ratio", ".3f"),
    "memory_ratio": ("memory ratio", ".3f"),
}
"""The heading and the format of each figure in the table."""


class Baseline:
    """What a row is compared with: the row that differs from it in one setting alone, or the first row of all.

    Args:
        text: "setting=value", such as "norms=unfolded" or "imgsz=1024"; None for the first row.
        cases: All that will be measured.

    Raises:
        UserError: There is no such setting, or no case with that value.
    """

    def __init__(self, text: str | None, cases: Sequence[Case]) -> None:
        self._setting, _, self._value = (text or "").partition("=")
        if not text:
            return
        known = [field.name for field in fields(cases[0])]
        if self._setting not in known:
            raise UserError(f"--baseline {text}: give SETTING=VALUE with one of {', '.join(known)}")
        values = list(dict.fromkeys(str(getattr(case, self._setting)) for case in cases))
        if self._value not in values:
            raise UserError(f"--baseline {text}: {self._setting} is {' or '.join(values)} in this benchmark")

    def of(self, row: Row, rows: Sequence[Row]) -> Row | None:
        """Give the row to compare `row` with; None where there is none with figures."""
        candidates = rows[:1] if not self._setting else [other for other in rows if self._fits(row.case, other.case)]
        return next((other for other in candidates if not other.error), None)

    def _fits(self, case: Case, other: Case) -> bool:
        if str(getattr(other, self._setting)) != self._value:
            return False
        mine, theirs = asdict(case), asdict(other)
        # A setting that one of the two models does not have cannot tell them apart.
        return all(
            mine[name] == theirs[name] or NONE in (mine[name], theirs[name]) for name in mine if name != self._setting
        )


def records(rows: Sequence[Row], baseline: Baseline) -> list[dict[str, Any]]:
    """Give a flat mapping for each row: its settings, its figures, and their ratios to its baseline's."""
    found = []
    for row in rows:
        base = baseline.of(row, rows)
        ratios = (None, None) if base is None else (_ratio(row.seconds, base.seconds), _ratio(row.growth, base.growth))
        figures = (row.seconds, row.growth, row.growth_repeated, row.whole, *ratios)
        found.append({**asdict(row.case), **dict(zip(_FIGURES, figures, strict=True)), "error": row.error})
    return found


def _ratio(value: float | None, base: float | None) -> float | None:
    return value / base if value is not None and base else None


def table(rows: Sequence[Row], baseline: Baseline) -> str:
    """Give a Markdown table, aligned for the terminal. Settings that all rows share stand in a line above it."""
    content = records(rows, baseline)
    settings = [field.name for field in fields(rows[0].case)]
    varied = [name for name in settings if len({str(record[name]) for record in content}) > 1] or settings[:2]
    shared = ", ".join(f"{name} {content[0][name]}" for name in settings if name not in varied)
    lines = []
    for record in content:
        figures = ["" if record[name] is None else format(record[name], style) for name, (_, style) in _FIGURES.items()]
        if record["error"]:
            figures[0] = f"failed: {record['error']}"
        lines.append([*(str(record[name]) for name in varied), *figures])
    text = tables.markdown([*varied, *(heading for heading, _ in _FIGURES.values())], lines)
    return "\n".join([*([shared, ""] if shared else []), text])


def write_csv(path: Path, rows: Sequence[Row], baseline: Baseline) -> None:
    """Write one line for each row, atomically."""
    content = records(rows, baseline)
    atomic_write_csv(path, list(content[0]), content)


def write_json(path: Path, rows: Sequence[Row], baseline: Baseline, command: Sequence[str], threads: int) -> None:
    """Write the rows with the time of each pass, and what they were measured on, atomically."""
    content = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": list(command),
        "machine": machine(gpu=any(row.case.device == "cuda" for row in rows)),
        "threads": threads,
        "versions": versions(),
        "rows": [
            {**record, "times": row.times, "before_mib": row.before}
            for record, row in zip(records(rows, baseline), rows, strict=True)
        ],
    }
    atomic_write_json(path, content, indent=1)
