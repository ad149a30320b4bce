"""Tables as Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from moat_det.files import atomic_write_text


def markdown(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Give a Markdown table, aligned for the terminal."""
    widths = [max(len(line[i]) for line in (heading, *rows)) for i in range(len(heading))]
    lines = [heading, ["-" * width for width in widths], *rows]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |" for line in lines
    )


def write_csv(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write one line for each record, atomically; all have the keys of the first."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, records[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    atomic_write_text(path, buffer.getvalue())
