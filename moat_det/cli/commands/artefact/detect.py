"""`moat detect --weights` with an exported model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from moat_det.cli.command import Arguments, Command
from moat_det.cli.outcome import report, report_unreadable, write
from moat_det.cores import computing_threads
from moat_det.detection.detection_files import DetectionFiles
from moat_det.detection.thresholds import Thresholds
from moat_det.errors import UserError
from moat_det.evaluation.inspection.operating_point import read_thresholds
from moat_det.runtime.detection_run import DetectionRun
from moat_det.runtime.load import load
from moat_det.runtime.operating_points import with_settings
from moat_det.runtime.options import REFUSED_IN_DETECTION, RuntimeDetection

logger = logging.getLogger(__name__)


def _check(given: Mapping[str, Any]) -> None:
    Thresholds.read(given.get("conf"))
    if given.get("operating_point") and given.get("conf"):
        raise UserError("--conf: the thresholds are those of --operating-point; leave one of the two out")


def _run(arguments: Arguments) -> int:
    options = arguments.take(RuntimeDetection)
    point = None if options.operating_point is None else read_thresholds(options.operating_point)
    if point is not None:
        options = with_settings(options, point)
    detector = load(options.weights, imgsz=options.size, max_pixels=options.max_pixels, threads=computing_threads())
    run = DetectionRun(detector, options, point)
    if options.save_json or options.save_csv:  # before hours of detecting, not after
        run.claim_folder()
    files, images, found = DetectionFiles(run.verdicts), 0, 0
    try:
        for image in run:
            images += 1
            found += len(image.detections)
            if options.save_json or options.save_csv:  # else millions of images would fill the memory
                files.add(image.detections, image.file_name, part=image.part)
    finally:  # what was found until then is not lost
        parts = [] if run.verdicts is None else run.verdicts.parts()
        seen = bool(images or parts)  # parts that cannot be read have a verdict too
        if seen and (options.save_json or options.save_csv):
            write(files, run.claim_folder(), options.save_json, options.save_csv, run.verdicts is not None)
    report_unreadable(run.unreadable)
    if not seen and options.shard is None:
        raise UserError(f"--source {options.source}: none of its images can be read")
    logger.info(f"{found} detections in {images} images{f'; results in {run.folder}' if run.folder else ''}")
    return 0 if run.verdicts is None else report(parts)


COMMAND = Command(
    name="detect",
    run=_run,
    check=_check,
    options=(RuntimeDetection,),
    about="With an exported model, which needs neither torch nor a GPU; a checkpoint takes more options.",
    usage="--weights FOLDER --source SOURCE [--conf 0.25 --save-txt --save-csv ...]",
    examples=(
        "detect --weights best_onnx --source images/",
        "detect --weights best_onnx --source archive/ --shard 2/8 --save false",
        "detect --weights best_openvino --source 'images/*.png' --conf 0.4 scratch=0.6 --save-txt --save-csv",
    ),
    refused=REFUSED_IN_DETECTION,
)
