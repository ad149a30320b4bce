"""The run's `results.csv`, a row an epoch."""

from __future__ import annotations

from pathlib import Path

from moat_det.files import atomic_write_text


def drop_rows_after(path: Path, epoch: int) -> None:
    """Drop the rows of epochs after `epoch` (counted from 1), which a resumed run is about to write again.

    A run that is killed between its row and its checkpoint leaves a row too many, or half of one.
    """
    if not path.exists():
        return
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    columns = header.count(",")
    kept = [row for row in rows if row.count(",") == columns and int(float(row.split(",")[0])) <= epoch]
    atomic_write_text(path, "\n".join([header, *kept]) + "\n")
