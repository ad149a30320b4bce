"""`moat val`."""

from __future__ import annotations

from moat_det.cli.command import Arguments, Command, EngineHelp
from moat_det.cli.commands.train import WORKERS
from moat_det.cli.processes import DEVICE, in_processes
from moat_det.cli.shared import DATA
from moat_det.cli.trained import GENERAL, IMGSZ, TrainedModel, refuse_model
from moat_det.engine.inference_options import ValidationOptions


def _run(arguments: Arguments) -> int:
    return in_processes("val", arguments, lambda: _validate(arguments))


def _validate(arguments: Arguments) -> None:
    model = arguments.take(TrainedModel).load()
    model.val(**arguments.engine, **arguments.own)


COMMAND = Command(
    name="val",
    run=_run,
    check=refuse_model,
    options=(TrainedModel, ValidationOptions),
    usage="--weights WEIGHTS [--data DATA] [--annotations JSON] [--imgsz 640 --split test ...]",
    examples=(
        "val --weights runs/train/weights/best.pt --data defects.yaml",
        "val --weights best.pt --data defects.yaml --split test --annotations test.json",
        "val --weights best.pt --data boards.yaml --imgsz native --batch 1",
        "val --weights best.pt --data boards.yaml --max-escape 0.01 --group '^(board\\d+)_'",
    ),
    engine=EngineHelp(
        main={"data": DATA, "imgsz": IMGSZ, "device": DEVICE},
        general=f"{GENERAL} split workers single_cls rect plots save_txt save_conf visualize",
        defaults={"imgsz": "as trained", "conf": 0.001, "rect": True, "workers": WORKERS},
    ),
)
