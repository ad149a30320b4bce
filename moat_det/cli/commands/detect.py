"""`moat detect`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moat_det.cli.command import Arguments, Command, EngineHelp
from moat_det.cli.outcome import report, report_unlike, report_unreadable, write
from moat_det.cli.trained import GENERAL, IMGSZ, TrainedModel, refuse_model
from moat_det.detection.anomalies import UNLIKE
from moat_det.detection.detection_files import DetectionFiles
from moat_det.detection.shards import DETECTIONS, check_alone
from moat_det.detection.thresholds import CONF, Thresholds
from moat_det.engine.device import choose_device
from moat_det.engine.inference_options import DetectionOptions
from moat_det.errors import UserError
from moat_det.options import option
from moat_det.runtime.speed import say_faster

logger = logging.getLogger(__name__)

_NOT_WITH_RAY = (
    *("operating_point", "shard", "save", "save_txt", "save_crop", "save_frames", "save_json", "save_csv", "show"),
    *("visualize", "exist_ok", "heatmap"),
)


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


@dataclass(frozen=True)
class Actors:
    """Who detects."""

    ray: int | None = option(None, "detect by N actors of Ray, in images alone; started again it goes on", metavar="N")

    def __post_init__(self) -> None:
        """Check the value."""
        if self.ray is not None and self.ray < 1:
            raise UserError(f"--ray {self.ray}: must be 1 actor or more")


def check_detection(given: Mapping[str, Any]) -> None:
    """Raise UserError where the options of a detection are at odds or no scores, or its source is missing."""
    refuse_model(given)
    Thresholds.read(given.get("conf"))
    if given.get("operating_point") and given.get("conf"):
        raise UserError("--conf: the thresholds are those of --operating-point; leave one of the two out")
    check_alone(given.get("shard"), {name: given.get(name) for name in ("operating_point", "save_csv", "save_json")})
    _check_ray(given)
    if given.get("weights") and not given.get("source"):
        raise UserError("moat detect needs --source, e.g. --source images/ or --source part.png")


def _check_ray(given: Mapping[str, Any]) -> None:
    for name in _NOT_WITH_RAY if given.get("ray") is not None else ():
        if given.get(name):
            raise UserError(
                f"--{name.replace('_', '-')}: with --ray the detections are in {DETECTIONS}, a line for each image; "
                "leave one of the two out"
            )


def _run(arguments: Arguments) -> int:
    actors = arguments.take(Actors).ray
    return _detect(arguments) if actors is None else _detect_by_ray(arguments, actors)


def _detect_by_ray(arguments: Arguments, actors: int) -> int:
    from moat_det.engine.ray_detection import detect

    model, engine = arguments.take(TrainedModel).load(), {"name": "detect", **arguments.engine}
    found, images, folder = detect(model, engine.pop("source"), {**engine, **arguments.own}, actors)
    logger.info(f"{found} detections in {images} images; results in {folder}")
    return 0


def _detect(arguments: Arguments) -> int:
    engine = {"save": True, "name": "detect", **arguments.engine}
    as_json, as_csv = engine.pop("save_json", False), arguments.take(Files).save_csv
    trained = arguments.take(TrainedModel)
    model = trained.load()
    if choose_device(engine.get("device")).type == "cpu" and (hint := say_faster(Path(trained.weights))):
        logger.info(hint)
    images, found, unlike = 0, 0, list[str]()
    compared = bool(arguments.own.get("heatmap"))
    results = model.predict(stream=True, **engine, **arguments.own)
    predictor: Any = model.predictor
    predictor.awaited = as_json or as_csv
    files: DetectionFiles | None = None
    try:
        for result in results:
            images += 1
            found += len(result)
            files = files or DetectionFiles(predictor.verdicts, compared=compared)
            name, anomaly = predictor.names.relative(result.path), result.heatmap and result.heatmap.anomaly
            if anomaly is not None and anomaly.looks == UNLIKE:
                unlike.append(name)
            if as_json or as_csv:
                files.add(result.detections(), name, result.frame, result.part, anomaly=anomaly)
    finally:  # what was found until then is not lost
        parts = [] if predictor.verdicts is None else predictor.verdicts.parts()
        seen = bool(images or parts)  # parts that cannot be read have a verdict too
        folder: Path = predictor.save_dir
        if seen:
            files = files or DetectionFiles(predictor.verdicts, compared=compared)
            write(files, folder, as_json, as_csv, predictor.verdicts is not None, with_anomalies=compared)
    report_unreadable(predictor.unreadable)
    if not seen and "shard" not in arguments.own:
        raise UserError(f"--source {engine['source']}: none of its images can be read")
    logger.info(f"{found} detections in {images} images{f'; results in {folder}' if folder.is_dir() else ''}")
    code = report_unlike(images, unlike, len(predictor.unreadable)) if compared else 0
    return code if predictor.verdicts is None else report(parts)


COMMAND = Command(
    name="detect",
    run=_run,
    check=check_detection,
    options=(TrainedModel, Scores, Files, Actors, DetectionOptions),
    usage="--weights WEIGHTS --source SOURCE [--conf 0.25 --save-txt --save-csv ...]",
    examples=(
        "detect --weights runs/train/weights/best.pt --source images/",
        "detect --weights best.pt --source 'images/*.png' --conf 0.4 scratch=0.6 --save-txt --save-csv",
        "detect --weights best.pt --source scans/ --imgsz native --max-pixels 30000000",
        "detect --weights best.pt --source parts/ --operating-point operating_point.json",
        "detect --weights best.pt --source archive/ --shard 2/8 --save false",
        "detect --weights best.pt --source archive/ --ray 8 --batch 16",
        "detect --weights best.pt --source parts/ --heatmap --good-parts good/ --save-csv",
    ),
    engine=EngineHelp(
        main={"source": "file, folder, glob (in quotes), list file, video, or camera number", "imgsz": IMGSZ},
        general=f"{GENERAL} save save_json",
        sections=("Predict", "Visualize"),
        defaults={"imgsz": "as trained", "batch": 1},
    ),
)
