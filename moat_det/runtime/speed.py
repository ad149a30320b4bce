"""Whether an exported file beside a checkpoint is much faster than it, by what its export measured."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from moat_det.errors import UserError
from moat_det.files import sha256
from moat_det.runtime.digests import REPORT
from moat_det.runtime.metadata import Metadata

SECONDS = "seconds"
"""Of the report: what a `Speed` holds."""

_MUCH = 1.5


@dataclass(frozen=True)
class Speed:
    """Seconds of a pass over one image on a CPU.

    Attributes:
        file: Of the exported file.
        checkpoint: Of its checkpoint.
    """

    file: float
    checkpoint: float


def say_faster(weights: Path) -> str | None:
    """Say which exported file of a checkpoint, in a folder beside it, takes less than two thirds of its time.

    Args:
        weights: The checkpoint.

    Returns:
        One line about the fastest, or None where there is none.
    """
    found: list[tuple[float, str]] = []
    digest = ""
    for report in weights.parent.glob(f"{weights.stem}_*/{REPORT}"):
        try:
            speed = Speed(**json.loads(report.read_text(encoding="utf-8"))[SECONDS])
            facts = Metadata.read(report.parent)
        except (UserError, OSError, ValueError, KeyError, TypeError):
            continue  # of another version, or no export: it is not asked for
        digest = digest or sha256(weights)
        if facts.weights.get("sha256") == digest and speed.checkpoint > _MUCH * speed.file:
            found.append((speed.checkpoint / speed.file, f"{report.parent} ({facts.precision})"))
    if not found:
        return None
    ratio, name = max(found)
    return (
        f"{name} has the same weights, and was {ratio:.1f} times as fast when it was exported: --weights takes it too"
    )
