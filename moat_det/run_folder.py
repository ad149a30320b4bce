"""The folder of a run: claimed before anything is written, so that no two runs share one."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from moat_det.errors import UserError
from moat_det.files import claim_folder, remove_half_written
from moat_det.paths import PROJECT

logger = logging.getLogger(__name__)


LOCK = "run.lock"
"""An empty file in the folder of a training; whoever trains holds it."""


def last_checkpoint(folder: Path) -> Path:
    """Give where a run keeps its newest checkpoint, with which it goes on."""
    return folder / "weights" / "last.pt"


def best_checkpoint(folder: Path) -> Path:
    """Give where a run keeps the checkpoint of its best epoch."""
    return folder / "weights" / "best.pt"


def hold_run(folder: Path) -> FileLock:
    """Keep other trainings out of the folder of a run, until the lock is released or the process ends.

    What killed ones left half-written of its checkpoints is removed.

    Raises:
        OSError: The lock cannot be made.
        UserError: Another training holds it.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{folder}: another training is at work in this folder; wait until it ends, or choose another --name"
        ) from None
    for checkpoint in (last_checkpoint(folder), best_checkpoint(folder)):
        remove_half_written(checkpoint)
    return lock


def folder_of(checkpoint: Path) -> Path:
    """Give the folder of the run that a checkpoint in its `weights/` is of.

    Raises:
        UserError: It lies elsewhere, where a run that goes on would write over files of other kinds.
    """
    path = checkpoint.resolve()
    folder = path.parent.parent
    others = {each.name for each in folder.iterdir()} - {"weights"}
    if path.parent.name != "weights" or (others and not others & {"args.yaml", LOCK}):
        raise UserError(
            f"{checkpoint}: lies in no run's folder, and a run goes on in its own: put it back to weights/ there, or "
            f"start a new one with --weights {checkpoint}"
        )
    return folder


def claim_run(args: Any) -> Path:
    """Make the folder of a run, which is its own unless the user let it exist.

    Args:
        args: The engine's arguments: `project`, `name`, `exist_ok`, and `mode`, the name where none is given.

    Raises:
        OSError: It cannot be made.
    """
    return claim_folder(Path(args.project or PROJECT, args.name or args.mode), args.exist_ok)


def tell_former(folder: Path) -> None:
    """Say that the folder of a run, which the user let exist, holds files already: none of them is removed unasked."""
    if any(folder.iterdir()):
        logger.info(
            f"{folder}: holds files of an earlier run, which stay where this run writes none of their name, such as "
            "labels of images that are gone; leave --exist-ok out for a folder of its own"
        )


def check_apart(folder: Path, files: Iterable[str]) -> None:
    """Make sure that results take the place of no image, and of no label beside it.

    Args:
        folder: Of the run, without links; the user may have let it exist.
        files: What the run reads.

    Raises:
        UserError: One of them lies in the folder of the run, or is a link to what lies there.
    """
    files = list(files)
    lie = {os.path.dirname(file) for file in files}
    lie.update(os.path.dirname(os.path.realpath(file)) for file in files if os.path.islink(file))
    folders = {Path(os.path.abspath(each)) for each in lie}
    ways = folders.union(*(each.parents for each in folders))  # results go through links too, which lead elsewhere
    if any(each.resolve().is_relative_to(folder) for each in ways):
        raise UserError(
            f"--project and --name: {folder} holds images that are read, and results would take the place of files "
            "there; choose another folder"
        )


def tell_results(project: str | Path | None, root: str | None, files: Iterable[str]) -> None:
    """Say where `files`, which lie below `root`, are in part those that earlier runs of a project have written."""
    project = Path(project or PROJECT).resolve()
    if root is None or project in Path(root).resolve().parents:
        return
    results = sum(project in Path(file).parent.parents for file in files)  # in the folder of a run
    if results:
        logger.warning(
            f"{results} of the files lie below {project}, where results of runs go: if they are some, name a --project "
            "that is not in the source"
        )
