"""Detections as files for other programs: COCO results and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from moat_det.detection.anomalies import Anomaly
from moat_det.detection.detections import Detections
from moat_det.evaluation.ground_truth import written_boxes, written_corners
from moat_det.evaluation.inspection.verdicts import PartVerdict, Verdicts
from moat_det.files import atomic_write_csv, atomic_write_json

_ANOMALY = ("anomaly", "looks")
_OF_IMAGE = ("image_id", "file_name", "frame")
_COLUMNS = ("image_id", "file_name", "frame", "class", "name", "score", "x1", "y1", "x2", "y2")


class DetectionFiles:
    """Collects the detections of a run, and writes them when it ends, well or not.

    `file_name` is the path below the folder that the run reads, `frame` counts the frames of a video, those too that
    could not be read, and is 1 of a picture, and `image_id` counts all of them from 1 in the order they came.
    `category_id` is class + 1. With an operating point each detection also carries its `part`, and the `verdict` on it,
    of a tracking the number of its `track`, with the `frame` as its tracks have it, and with heat maps the `anomaly` of
    its image and what that `looks` like.

    Args:
        verdicts: Gathered by who detects, until the files are written; None without an operating point.
        tracked: The detections have numbers.
        compared: Each image was compared with good parts.
    """

    def __init__(self, verdicts: Verdicts | None = None, tracked: bool = False, compared: bool = False) -> None:
        self._verdicts = verdicts
        judged = ("part", "verdict") if verdicts is not None else ()
        self._more = (*(("track",) if tracked else ()), *judged, *(_ANOMALY if compared else ()))
        self._anomalies: list[dict[str, Any]] = []
        self._images = 0
        self._rows: list[dict[str, Any]] = []

    def add(
        self,
        found: Detections,
        file_name: str,
        frame: int = 1,
        part: str | None = None,
        tracks: Sequence[int] | None = None,
        anomaly: Anomaly | None = None,
    ) -> None:
        """Take in the detections of one image or frame.

        Args:
            found: The detections.
            file_name: See above.
            frame: See above.
            part: That it is of; None without an operating point.
            tracks: The number of each detection's track; None where they are not followed.
            anomaly: Of the image; None where it was not compared with good parts.
        """
        self._images += 1
        unlike: dict[str, Any] = {}
        if anomaly is not None:
            unlike = {"anomaly": anomaly.score, "looks": anomaly.looks}
            image = dict(zip(_OF_IMAGE, (self._images, file_name, frame), strict=True))
            self._anomalies.append({**image, **unlike, "x": anomaly.x, "y": anomaly.y})
        corners, numbers = written_corners(found.xyxy), [None] * len(found) if tracks is None else tracks
        rows = zip(found.cls.tolist(), found.classes, found.score.tolist(), corners, numbers, strict=True)
        for label, name, score, corner, number in rows:
            values = (self._images, file_name, frame, label, name, score, *corner.tolist())
            self._rows.append({**dict(zip(_COLUMNS, values, strict=True)), "part": part, "track": number, **unlike})

    def write_json(self, path: Path) -> None:
        """Write COCO results: bbox as x, y, width, height in pixels; `file_name` says which image an id is."""
        entries: list[dict[str, Any]] = [
            {
                "image_id": row["image_id"],
                "file_name": row["file_name"],
                "frame": row["frame"],
                "category_id": row["class"] + 1,
                "bbox": written_boxes([row[side] for side in ("x1", "y1", "x2", "y2")])[0].tolist(),
                "score": row["score"],
                **self._added(row),
            }
            for row in self._rows
        ]
        atomic_write_json(path, entries)

    def write_csv(self, path: Path) -> None:
        """Write a row a detection: corners in pixels of the file."""
        columns = (*_COLUMNS, *self._more)
        rows = [{**{column: row[column] for column in _COLUMNS}, **self._added(row)} for row in self._rows]
        atomic_write_csv(path, columns, rows)

    def write_verdicts_json(self, path: Path) -> None:
        """Write the verdict on each part, those without a detection too, as a list of what `PartVerdict` holds."""
        atomic_write_json(path, [asdict(verdict) for verdict in self._parts()], indent=2)

    def write_verdicts_csv(self, path: Path) -> None:
        """Write a row a part; see `PartVerdict`."""
        columns = tuple(each.name for each in fields(PartVerdict))
        atomic_write_csv(path, columns, [asdict(verdict) for verdict in self._parts()])

    def write_anomalies_json(self, path: Path) -> None:
        """Write of each image, those without a detection too, how unlike good parts it is: see `Anomaly`."""
        atomic_write_json(path, self._anomalies, indent=2)

    def write_anomalies_csv(self, path: Path) -> None:
        """Write a row an image; see `Anomaly`."""
        atomic_write_csv(path, (*_OF_IMAGE, *_ANOMALY, "x", "y"), self._anomalies)

    def _parts(self) -> list[PartVerdict]:
        return [] if self._verdicts is None else self._verdicts.parts()

    def _added(self, row: dict[str, Any]) -> dict[str, Any]:
        """Give what a detection carries beside itself."""
        if self._verdicts is not None:
            row = {**row, "verdict": self._verdicts.of(row["part"]).verdict}
        return {column: row[column] for column in self._more}
