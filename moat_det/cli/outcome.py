"""What `moat detect` writes and says when it has seen all images, whatever detected."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from moat_det.detection.detection_files import DetectionFiles
from moat_det.evaluation.inspection.verdicts import VERDICTS, PartVerdict, Verdict
from moat_det.messages import some

logger = logging.getLogger(__name__)

REJECTED = 3
"""The exit code where a part is rejected, whatever else."""

UNDECIDED = 4
"""That where a part goes to review, one of its images could not be read, or an image is unlike good parts."""


def write(
    files: DetectionFiles, folder: Path, as_json: bool, as_csv: bool, with_verdicts: bool, with_anomalies: bool = False
) -> None:
    """Write what was found; with verdicts, what becomes of the parts; with anomalies, how unlike good parts each is."""
    if as_json:
        files.write_json(folder / "predictions.json")
    if as_csv:
        files.write_csv(folder / "detections.csv")
    if as_json and with_verdicts:
        files.write_verdicts_json(folder / VERDICTS)
    if as_csv and with_verdicts:
        files.write_verdicts_csv(folder / "verdicts.csv")
    if as_json and with_anomalies:
        files.write_anomalies_json(folder / "anomalies.json")
    if as_csv and with_anomalies:
        files.write_anomalies_csv(folder / "anomalies.csv")


def report_unreadable(files: Sequence[str | Path]) -> None:
    """Name the files that could not be read, or not whole."""
    if files:
        logger.warning(
            f"{len(files)} unreadable file(s) were skipped, or read in part: {some([str(file) for file in files], 5)}"
        )


def report_unlike(images: int, unlike: Sequence[str], unreadable: int) -> int:
    """Say how many of the images that were seen look as good parts do, and which do not; gives the exit code."""
    if unlike:
        logger.info(f"unlike the good parts: {some(unlike, 10)}")
    logger.info(f"{images} images: {images - len(unlike)} as the good parts, {len(unlike)} unlike")
    return UNDECIDED if unlike or unreadable else 0


def report(parts: Sequence[PartVerdict]) -> int:
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
