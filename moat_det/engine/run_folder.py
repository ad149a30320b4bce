"""The folder of a run: claimed before anything is written, so that no two runs share one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from moat_det.files import claim_folder
from moat_det.paths import PROJECT


def claim_run(args: Any) -> Path:
    """Make the folder of a run, which is its own unless the user let it exist.

    Args:
        args: The engine's arguments: `project`, `name`, `exist_ok`, and `mode`, the name where none is given.

    Raises:
        OSError: It cannot be made.
    """
    return claim_folder(Path(args.project or PROJECT, args.name or args.mode), args.exist_ok)
