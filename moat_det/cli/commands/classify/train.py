"""`moat classify train`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moat_det.cli.command import Arguments, Command
from moat_det.cli.shared import Resuming, check_resumed
from moat_det.errors import UserError
from moat_det.options import options_of
from moat_det.pretraining.classification.augment import AugmentationOptions
from moat_det.pretraining.classification.options import ClassifierOptions
from moat_det.pretraining.options import LoopOptions, RunPlace

_KEPT = options_of(ClassifierOptions, AugmentationOptions, LoopOptions).keys() - {"data"}


def _check(given: Mapping[str, Any]) -> None:
    if given.get("resume") is None and not given.get("data"):
        raise UserError("moat classify train needs --data: a folder with train/ and val/, or one with --split")
    check_resumed(given, _KEPT)


def _run(arguments: Arguments) -> None:
    from moat_det.pretraining.classification.train import ClassifierTraining, resume_classifier, train_classifier

    resume = arguments.take(Resuming).resume
    place = arguments.take(RunPlace)
    if resume is not None:
        resume_classifier(resume, place, arguments.own.get("data"))
        return
    training = ClassifierTraining(
        arguments.take(ClassifierOptions), arguments.take(AugmentationOptions), arguments.take(LoopOptions)
    )
    train_classifier(training, place)


COMMAND = Command(
    name="classify train",
    run=_run,
    check=_check,
    options=(ClassifierOptions, LoopOptions, AugmentationOptions, RunPlace, Resuming),
    usage="--data FOLDER [--backbone tiny_moat2] [--imgsz 224 --epochs 100 ...]",
    about="The folder has train/ and val/, each with a folder for each class, or folders of classes alone with "
    "--split. The augmentation is meant for long trainings on photographs: for small pictures or a few "
    "epochs give --plain. A detector starts from the best.pt: moat train --weights.",
    examples=(
        "classify train --data parts/ --backbone tiny_moat0 --imgsz 224 --epochs 100",
        "classify train --data parts/ --split 0.2 --backbone timm/coatnet_nano_rw_224",
        "classify train --data digits/ --imgsz 64 --epochs 2 --plain",
        "classify train --resume runs/classification/weights/last.pt",
    ),
)
