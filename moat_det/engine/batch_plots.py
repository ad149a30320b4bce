"""Pictures of batches that a training or a validation leaves, drawn by the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ultralytics.utils.plotting import plot_images

from moat_det.files import atomic_path


def plot_batch(
    file: Path, labels: dict[str, Any], paths: Sequence[str], names: Mapping[int, str] | None = None
) -> None:
    """Draw the images of a batch with their boxes, before the work goes on: in a thread of its own a fault is lost.

    Args:
        file: The picture to write, atomically.
        labels: As the engine takes them; it changes them.
        paths: Of the images.
        names: Class index -> name; numbers are drawn where there are none.

    Raises:
        OSError: The file cannot be written.
    """
    with atomic_path(file) as temporary:
        plot_images(labels=labels, paths=paths, fname=temporary, names=names, threaded=False)
