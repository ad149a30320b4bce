"""`moat val --weights` with an exported model."""

from __future__ import annotations

from moat_det.cli.command import Arguments, Command
from moat_det.cores import computing_threads
from moat_det.runtime.load import load
from moat_det.runtime.options import REFUSED, RuntimeValidation
from moat_det.runtime.validation_run import ValidationRun


def _run(arguments: Arguments) -> None:
    options = arguments.take(RuntimeValidation)
    detector = load(options.weights, imgsz=options.size, max_pixels=options.max_pixels, threads=computing_threads())
    ValidationRun(detector, options).run()


COMMAND = Command(
    name="val",
    run=_run,
    options=(RuntimeValidation,),
    about="With an exported model, which needs neither torch nor a GPU; a checkpoint takes more options.",
    usage="--weights FOLDER --data DATA [--split test] [--annotations JSON] [--max-escape 0.01 ...]",
    examples=(
        "val --weights best_onnx --data defects.yaml",
        "val --weights best_openvino --data boards.yaml --max-escape 0.01 --group '^(board\\d+)_'",
    ),
    refused=REFUSED,
)
