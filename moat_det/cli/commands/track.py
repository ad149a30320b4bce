"""`moat track`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moat_det.cli.command import Arguments, Command, EngineHelp
from moat_det.cli.commands.detect import Files, Scores
from moat_det.cli.outcome import report_unreadable, write
from moat_det.cli.trained import GENERAL, IMGSZ, TrainedModel, refuse_model
from moat_det.detection.detection_files import DetectionFiles
from moat_det.detection.thresholds import Thresholds
from moat_det.engine.inference_options import InferenceOptions
from moat_det.engine.tracking.files import write_tracks
from moat_det.engine.tracking.options import IOU, TrackingOptions
from moat_det.engine.tracking.tracks import Tracks
from moat_det.errors import UserError

logger = logging.getLogger(__name__)

_SHOWN_SOURCES = 20


def _check(given: Mapping[str, Any]) -> None:
    refuse_model(given)
    Thresholds.read(given.get("conf"))
    if given.get("weights") and not given.get("source"):
        raise UserError("moat track needs --source, e.g. --source belt.mp4 or --source frames/")


def _run(arguments: Arguments) -> None:
    engine = {"save": True, "name": "track", **arguments.engine}
    as_json, as_csv = engine.pop("save_json", False), arguments.take(Files).save_csv
    model = arguments.take(TrainedModel).load()
    results = model.track(stream=True, **engine, **arguments.own)
    predictor: Any = model.predictor
    predictor.awaited = True
    files = DetectionFiles(tracked=True)
    try:
        for result in results:
            if as_json or as_csv:
                numbers = [] if result.boxes.id is None else [int(number) for number in result.boxes.id]
                name = predictor.names.relative(result.path)
                files.add(result.detections(), name, result.frame, tracks=numbers)
    finally:  # what was found until then is not lost
        tracks: Tracks | None = predictor.tracks
        if tracks is not None and tracks.frames:
            folder: Path = predictor.save_dir
            write_tracks(folder, tracks, model.names)
            write(files, folder, as_json, as_csv, with_verdicts=False)
            _report(tracks, model.names, folder)
    report_unreadable(predictor.unreadable)
    if tracks is None or not tracks.frames:
        raise UserError(f"--source {engine['source']}: none of its frames can be read")


def _report(tracks: Tracks, names: Mapping[int, str], folder: Path) -> None:
    """Say how many defects there are."""

    def found(source: str | None = None) -> str:
        counts = tracks.counts(source)
        listed = ", ".join(f"{count} {names[label]}" for label, count in counts.items())
        return f"{counts.total()} defects{f' ({listed})' if listed else ''}"

    if 1 < len(tracks.frames) <= _SHOWN_SOURCES:
        for source, frames in tracks.frames.items():
            logger.info(f"{source or '.'}: {found(source)} in {frames} frames")
    where = f"{tracks.frames.total()} frames of {len(tracks.frames)} source(s)"
    logger.info(f"{found()} in {where}; results in {folder}")
    short = len(tracks.tracks) - tracks.counts().total()
    if short:
        helps = "; if the belt moves further than a defect is long, say how far: --motion X Y"
        logger.info(
            f"{short} more were found in fewer than {tracks.min_frames} frames and do not count (--min-frames)"
            f"{helps if short > len(tracks.tracks) // 2 else ''}"
        )


COMMAND = Command(
    name="track",
    run=_run,
    check=_check,
    options=(TrainedModel, Scores, Files, TrackingOptions, InferenceOptions),
    about=(
        "Each detection gets the number of its defect; tracks.csv and tracks.json have a row for each defect, and how "
        "many there are of each class."
    ),
    usage="--weights WEIGHTS --source SOURCE [--motion X Y --tracker bytetrack --conf 0.25 --save-csv ...]",
    examples=(
        "track --weights best.pt --source belt.mp4",
        "track --weights best.pt --source frames/ --motion 24 0 --save-csv",
        "track --weights best.pt --source 0 --tracker botsort --conf 0.4 scratch=0.6",
    ),
    engine=EngineHelp(
        main={
            "source": "video, camera number, folder, glob (in quotes) or list file of frames",
            "imgsz": IMGSZ,
            "vid_stride": "look at one frame in so many",
        },
        general=f"{GENERAL} save save_json",
        sections=("Predict", "Visualize"),
        defaults={"imgsz": "as trained", "batch": 1, "iou": IOU},
    ),
)
