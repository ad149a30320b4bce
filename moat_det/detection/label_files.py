"""Detections as labels in YOLO's format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from moat_det.detection.detections import Detections
from moat_det.files import atomic_write_text


def write_labels(path: Path, found: Detections, size: Sequence[int], with_scores: bool) -> None:
    """Write a row a detection: class, centre x, y, width and height as shares of the image, and the score where wanted.

    Without any detection there is no file, nor that of an earlier run.

    Args:
        path: The file.
        found: The detections.
        size: Height and width of the image in pixels.
        with_scores: Whether the score ends a row.

    Raises:
        OSError: It cannot be written.
    """
    if not len(found):
        path.unlink(missing_ok=True)
        return
    corners = found.xyxy.astype(np.float32)
    sides = np.array([size[1], size[0]], np.float32)
    low, high = corners[:, :2], corners[:, 2:]
    columns = [found.cls[:, None], (low + high) / 2 / sides, (high - low) / sides]
    if with_scores:
        columns.append(found.score[:, None])
    lines = [" ".join(f"{value:g}" for value in row) for row in zip(*_flat(columns), strict=True)]
    atomic_write_text(path, "\n".join(lines) + "\n")


def _flat(columns: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [column for part in columns for column in part.T]
