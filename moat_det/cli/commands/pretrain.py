"""`moat pretrain`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moat_det.cli.command import Arguments, Command
from moat_det.cli.shared import Resuming, check_resumed
from moat_det.errors import UserError
from moat_det.options import options_of
from moat_det.pretraining.masked.options import MaskedOptions
from moat_det.pretraining.options import LoopOptions, RunPlace

_KEPT = options_of(MaskedOptions, LoopOptions).keys() - {"source"}


def _run(arguments: Arguments) -> None:
    from moat_det.pretraining.masked.pretrain import pretrain, resume_pretraining

    resume, place = arguments.take(Resuming).resume, arguments.take(RunPlace)
    options, loop = arguments.take(MaskedOptions), arguments.take(LoopOptions)
    done = pretrain(options, loop, place) if resume is None else resume_pretraining(resume, place, options.source)
    print(f"written to {done}; a detector starts from it: moat train --data DATA --backbone NAME --weights {done}")


def _check(given: Mapping[str, Any]) -> None:
    if given.get("resume") is None and not given.get("source"):
        raise UserError("moat pretrain needs --source: a folder of pictures, which need no labels")
    check_resumed(given, _KEPT)


COMMAND = Command(
    name="pretrain",
    run=_run,
    check=_check,
    options=(MaskedOptions, LoopOptions, RunPlace, Resuming),
    about="Patches of each picture are hidden, and the backbone learns to predict them from the rest. Squares are cut "
    "out at the pictures' own resolution. Some are drawn now and then into reconstructions/ of the run: whole, as the "
    "backbone sees them, and as its maps of stride 8, 16 and 32 complete them.",
    usage="--source PATH [--backbone tiny_moat2] [--imgsz 224 --epochs 100 --batch 64 ...]",
    examples=(
        "pretrain --source parts/ --backbone tiny_moat0",
        "pretrain --resume runs/pretrain/weights/last.pt",
    ),
)
