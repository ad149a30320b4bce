"""Pictures of batches that a training or a validation leaves, drawn by the engine."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ultralytics.utils.plotting import plot_images

from moat_det.files import atomic_path
from moat_det.messages import one_line

logger = logging.getLogger(__name__)


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


@contextmanager
def left_out_without_room(file: Path) -> Iterator[None]:
    """Let a picture that cannot be written be missing, and say so: it is worth no training."""
    try:
        yield
    except OSError as error:
        logger.warning(f"{file} is left out: {error.strerror or one_line(error)}")
