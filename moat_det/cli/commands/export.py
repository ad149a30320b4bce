"""`moat export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from moat_det.cli.command import Arguments, Command
from moat_det.export import ExportOptions
from moat_det.options import option


@dataclass(frozen=True)
class Weights:
    """What is exported."""

    weights: Path = option(..., "a checkpoint, best.pt", metavar="PT")


def _run(arguments: Arguments) -> None:
    from moat_det.engine.model import MOAT

    exported = MOAT(arguments.take(Weights).weights).export(**arguments.own)
    parity, accuracy, speed = exported.parity, exported.accuracy, exported.speed
    print(
        f"{exported.folder}: on {parity.images} images raw boxes differ by at most {parity.box:.2g} px, scores by "
        f"{parity.score:.2g}; {parity.detections} detections, by {parity.final_box:.2g} px and {parity.final_score:.2g}"
        f"; an image takes {speed.file:.3g} s in it, and {speed.checkpoint:.3g} s in the checkpoint"
    )
    if accuracy is not None:
        print(f"{accuracy} (95 % interval of the difference)")


COMMAND = Command(
    name="export",
    run=_run,
    options=(Weights, ExportOptions),
    about=(
        "The folder holds the file, what a right answer needs beside it, and a report of the comparison with the "
        "checkpoint; a file that disagrees is not kept."
    ),
    usage="--weights PT [--format openvino] [--imgsz H W] [--dynamic] [--precision bf16] [--data YAML] [--out DIR]",
    examples=(
        "export --weights best.pt --format onnx --data defects.yaml",
        "export --weights best.pt --format openvino --imgsz 256 2048 --precision bf16 --out line3",
    ),
)
