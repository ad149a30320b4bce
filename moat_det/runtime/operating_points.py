"""Operating points of exported models: found with a file, they hold for that file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from moat_det.errors import UserError
from moat_det.evaluation.inspection.operating_point import OperatingPoint
from moat_det.runtime.load import identify
from moat_det.runtime.options import RuntimeDetection

_DECIDED = {
    **{name: name for name in ("imgsz", "max_pixels", "iou", "max_det", "agnostic_nms")},
    "only": "classes",
}
"""What a user may set in validation and detection, by its name in the file."""


def with_settings(options: RuntimeDetection, point: OperatingPoint) -> RuntimeDetection:
    """Give the options of a detection with the settings that an operating point was found with.

    Raises:
        UserError: The user gave another value.
    """
    taken: dict[str, Any] = {}
    for name, argument in _DECIDED.items():
        wanted, own = getattr(point.settings, name), getattr(options, argument)
        if own is not None and own != wanted:
            flag = "--" + argument.replace("_", "-")
            raise UserError(
                f"{flag} {own}: the thresholds of {options.operating_point} hold for {wanted}; leave {flag} out, or "
                "find a point with it by moat val"
            )
        taken[argument] = wanted
    return replace(options, **taken)


def check_point(point: OperatingPoint, options: RuntimeDetection) -> None:
    """Raise UserError where an operating point is of other weights than a file."""
    _, metadata, digest = identify(options.weights)
    if point.settings.weights != digest or point.settings.classes != metadata.names:
        raise UserError(
            f"--operating-point {options.operating_point}: is of other weights ({point.settings.weights_file}); detect "
            f"with those, or find the point of these: moat val --weights {options.weights}"
        )


def least_scores(point: OperatingPoint) -> np.ndarray:
    """Give the score of each class below which a detection does not matter to a verdict, (nc,) float32."""
    scores = [point.per_class.get(name, point.least) for name in point.settings.classes]
    # Suppression keeps what is above it, and a verdict looks at what is at a threshold too.
    return np.nextafter(np.array(scores, np.float32), np.float32(0))
