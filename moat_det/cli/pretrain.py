"""`moat pretrain`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moat_det.cli.command import Arguments, Command
from moat_det.errors import UserError
from moat_det.options import option, options_of
from moat_det.pretraining.masked.options import MaskedOptions
from moat_det.pretraining.options import LoopOptions, RunPlace

_MAY_CHANGE = {"resume", "device", "workers", "save_minutes"}


@dataclass(frozen=True)
class ResumeOption:
    """Going on."""

    resume: Path | None = option(None, "go on with the run of this last.pt, by its own options", metavar="FILE")


def _run(arguments: Arguments) -> None:
    from moat_det.pretraining.masked.pretrain import pretrain

    resume = arguments.take(ResumeOption).resume
    options, loop = arguments.take(MaskedOptions), arguments.take(LoopOptions)
    checkpoint = pretrain(options, loop, arguments.take(RunPlace), resume)
    print(f"start a detector from it: moat train --data DATA --backbone NAME --weights {checkpoint}")


def _check(given: Mapping[str, Any]) -> None:
    if not given.get("resume"):
        if not given.get("source"):
            raise UserError("moat pretrain needs --source: a folder of pictures, which need no labels")
        return
    for name in options_of(MaskedOptions, LoopOptions, RunPlace):
        if name in given and name not in _MAY_CHANGE:
            raise UserError(f"--{name.replace('_', '-')}: leave it out with --resume, the run has its own")


COMMAND = Command(
    name="pretrain",
    run=_run,
    check=_check,
    options=(MaskedOptions, LoopOptions, RunPlace, ResumeOption),
    about="Patches of each picture are hidden, and the backbone learns to predict them from the rest. Squares are cut "
    "out at the pictures' own resolution. Some are drawn now and then into reconstructions/ of the run: whole, as the "
    "backbone sees them, and as its maps of stride 8, 16 and 32 complete them.",
    usage="--source PATH [--backbone tiny_moat2] [--imgsz 224 --epochs 100 --batch 64 ...]",
    examples=(
        "pretrain --source parts/ --backbone tiny_moat0",
        "pretrain --resume runs/pretrain/weights/last.pt",
    ),
)
