"""`moat detect`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moat_det.cli.command import Arguments, Command, EngineHelp
from moat_det.cli.trained import GENERAL, IMGSZ, TrainedModel, refuse_model
from moat_det.engine.detections import DetectionFiles
from moat_det.engine.inference_options import DetectionOptions
from moat_det.engine.shards import DETECTIONS
from moat_det.engine.thresholds import CONF, Thresholds
from moat_det.errors import UserError
from moat_det.evaluation.inspection.verdicts import PartVerdict, Verdict
from moat_det.messages import some
from moat_det.options import option

logger = logging.getLogger(__name__)

REJECTED = 3
"""The exit code where a part is rejected, whatever else."""

UNDECIDED = 4
"""That where a part goes to review, or one of its images could not be read."""


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
    if given.get("operating_point") and given.get("conf"):
        raise UserError("--conf: the thresholds are those of --operating-point; leave one of the two out")
    files = next((name for name in ("save_json", "save_csv") if given.get(name)), None)
    if given.get("shard") and files:
        raise UserError(
            f"--{files.replace('_', '-')}: with --shard the detections are in {DETECTIONS}, a line for each image; "
            "leave one of the two out"
        )
    if given.get("weights") and not given.get("source"):
        raise UserError("moat detect needs --source, e.g. --source images/ or --source part.png")


def _run(arguments: Arguments) -> int:
    engine = {"save": True, "name": "detect", **arguments.engine}
    as_json, as_csv = engine.pop("save_json", False), arguments.take(Files).save_csv
    model = arguments.take(TrainedModel).load()
    images, found = 0, 0
    results = model.predict(stream=True, **engine, **arguments.own)
    predictor: Any = model.predictor
    files: DetectionFiles | None = None
    try:
        for result in results:
            images += 1
            found += len(result)
            files = files or DetectionFiles(predictor.verdicts)
            if as_json or as_csv:
                files.add(result, predictor.names.relative(result.path))
    finally:  # what was found until then is not lost
        parts = [] if predictor.verdicts is None else predictor.verdicts.parts()
        seen = bool(images or parts)  # parts that cannot be read have a verdict too
        folder: Path = predictor.claim_folder() if seen and (as_json or as_csv) else predictor.save_dir
        if seen:
            files = files or DetectionFiles(predictor.verdicts)
            _write(files, folder, as_json, as_csv, with_verdicts=predictor.verdicts is not None)
    if predictor.unreadable:
        named = some([str(path) for path in predictor.unreadable], 5)
        logger.warning(f"{len(predictor.unreadable)} unreadable file(s) were skipped: {named}")
    if not seen and "shard" not in arguments.own:
        raise UserError(f"--source {engine['source']}: none of its images can be read")
    logger.info(f"{found} detections in {images} images{f'; results in {folder}' if folder.is_dir() else ''}")
    return 0 if predictor.verdicts is None else _report(parts)


def _write(files: DetectionFiles, folder: Path, as_json: bool, as_csv: bool, with_verdicts: bool) -> None:
    if as_json:
        files.write_json(folder / "predictions.json")
    if as_csv:
        files.write_csv(folder / "detections.csv")
    if as_json and with_verdicts:
        files.write_verdicts_json(folder / "verdicts.json")
    if as_csv and with_verdicts:
        files.write_verdicts_csv(folder / "verdicts.csv")


def _report(parts: Sequence[PartVerdict]) -> int:
    """Say how many parts pass, and which do not; gives the exit code."""
    named = {verdict: [part.part for part in parts if part.verdict == verdict.value] for verdict in Verdict}
    for verdict in (Verdict.REJECT, Verdict.REVIEW):
        if named[verdict]:
            logger.info(f"{verdict.value}: {some(named[verdict], 10)}")
    counts = ", ".join(f"{len(named[verdict])} {verdict.value}" for verdict in Verdict)
    logger.info(f"{len(parts)} parts: {counts}")
    if named[Verdict.REJECT]:
        return REJECTED
    return UNDECIDED if named[Verdict.REVIEW] else 0


COMMAND = Command(
    name="detect",
    run=_run,
    check=check_detection,
    options=(TrainedModel, Scores, Files, DetectionOptions),
    usage="--weights WEIGHTS --source SOURCE [--conf 0.25 --save-txt --save-csv ...]",
    examples=(
        "detect --weights runs/train/weights/best.pt --source images/",
        "detect --weights best.pt --source 'images/*.png' --conf 0.4 scratch=0.6 --save-txt --save-csv",
        "detect --weights best.pt --source scans/ --imgsz native --max-pixels 30000000",
        "detect --weights best.pt --source parts/ --operating-point operating_point.json",
        "detect --weights best.pt --source archive/ --shard 2/8 --save false",
    ),
    engine=EngineHelp(
        main={"source": "file, folder, glob (in quotes), list file, video, or camera number", "imgsz": IMGSZ},
        general=f"{GENERAL} save save_json",
        sections=("Predict", "Visualize"),
        defaults={"imgsz": "as trained", "batch": 1},
    ),
)
