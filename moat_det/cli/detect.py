"""`moat detect`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moat_det.cli.command import Arguments, Command, EngineHelp
from moat_det.cli.trained import GENERAL, IMGSZ, TrainedModel, refuse_model
from moat_det.engine.detections import DetectionFiles
from moat_det.engine.inference_options import InferenceOptions
from moat_det.engine.thresholds import CONF, Thresholds
from moat_det.errors import UserError
from moat_det.messages import some
from moat_det.options import option

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Files:
    """What is written beside the engine's files."""

    save_csv: bool = option(False, "save the detections as CSV")


@dataclass(frozen=True)
class Scores:
    """What counts as a detection."""

    conf: list[str] = option(
        [str(CONF)],
        "least score of a detection, of all classes, or also of some by name",
        metavar="SCORE [CLASS=SCORE ...]",
    )


def check_detection(given: Mapping[str, Any]) -> None:
    """Raise UserError where the options of a detection are at odds or no scores, or its source is missing."""
    refuse_model(given)
    Thresholds.read(given.get("conf"))
    if given.get("weights") and not given.get("source"):
        raise UserError("moat detect needs --source, e.g. --source images/ or --source part.png")


def _run(arguments: Arguments) -> None:
    engine = {"save": True, "name": "detect", **arguments.engine}
    as_json, as_csv = engine.pop("save_json", False), arguments.take(Files).save_csv
    model = arguments.take(TrainedModel).load()
    files, images, found = DetectionFiles(), 0, 0
    results = model.predict(stream=True, **engine, **arguments.own)
    predictor: Any = model.predictor
    try:
        for result in results:
            images += 1
            found += len(result)
            if as_json or as_csv:
                files.add(result, predictor.names.relative(result.path))
    finally:  # what was found until then is not lost
        folder: Path = predictor.claim_folder() if images and (as_json or as_csv) else predictor.save_dir
        if as_json and images:
            files.write_json(folder / "predictions.json")
        if as_csv and images:
            files.write_csv(folder / "detections.csv")
    if predictor.unreadable:
        named = some([str(path) for path in predictor.unreadable], 5)
        logger.warning(f"{len(predictor.unreadable)} unreadable file(s) were skipped: {named}")
    if images == 0:
        raise UserError(f"--source {engine['source']}: none of its images can be read")
    logger.info(f"{found} detections in {images} images{f'; results in {folder}' if folder.is_dir() else ''}")


COMMAND = Command(
    name="detect",
    run=_run,
    check=check_detection,
    options=(TrainedModel, Scores, Files, InferenceOptions),
    usage="--weights WEIGHTS --source SOURCE [--conf 0.25 --save-txt --save-csv ...]",
    examples=(
        "detect --weights runs/train/weights/best.pt --source images/",
        "detect --weights best.pt --source 'images/*.png' --conf 0.4 scratch=0.6 --save-txt --save-csv",
        "detect --weights best.pt --source scans/ --imgsz native --max-pixels 30000000",
    ),
    engine=EngineHelp(
        main={"source": "file, folder, glob (in quotes), list file, video, or camera number", "imgsz": IMGSZ},
        general=f"{GENERAL} save save_json",
        sections=("Predict", "Visualize"),
        defaults={"imgsz": "as trained", "batch": 1},
    ),
)
