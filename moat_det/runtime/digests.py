"""The digests of an exported model's files: a changed weight, or a swapped name, is found when it is loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from moat_det.errors import UserError
from moat_det.files import sha256

REPORT = "parity.json"
"""What the comparison with the checkpoint found, and the digests of the files that it was made with."""


def digests(files: Iterable[Path]) -> dict[str, str]:
    """Give those of some files by their names."""
    return {file.name: sha256(file) for file in sorted(files)}


def check_digests(folder: Path) -> str:
    """Compare the files of a folder with its report; gives the SHA-256 of all of them together.

    Raises:
        UserError: There is no report, or a file is not the one that was compared with the checkpoint.
    """
    report = folder / REPORT
    try:
        expected = json.loads(report.read_text(encoding="utf-8"))["sha256"]
        items = dict(expected).items()
    except FileNotFoundError:
        raise UserError(
            f"{folder} has no {REPORT}: give the folder that `moat export` wrote, with all that lies in it"
        ) from None
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{report} cannot be read: export the checkpoint again") from None
    if not items:
        raise UserError(f"{report} names no file: export the checkpoint again")
    for name, digest in items:
        file = folder / name
        if not file.is_file():
            raise UserError(f"{file} is missing: copy the whole folder that `moat export` wrote")
        if sha256(file) != digest:
            raise UserError(
                f"{file} is not the file that was compared with its checkpoint (its SHA-256 is another): it was "
                "changed or damaged; copy the folder anew, or export again"
            )
    return hashlib.sha256(json.dumps(sorted(items)).encode()).hexdigest()
