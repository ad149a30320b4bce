"""Operating points of exported models: found with a file, they hold for that file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from moat_det.errors import UserError
from moat_det.evaluation.inspection.operating_point import OperatingPoint, other_setting
from moat_det.runtime.load import identify
from moat_det.runtime.metadata import Metadata
from moat_det.runtime.options import RuntimeDetection

_DECIDED = {
    **{name: name for name in ("imgsz", "max_pixels", "iou", "max_det", "agnostic_nms")},
    "only": "classes",
}
"""What a user may set in validation and detection, by its name in the file."""


def with_settings(options: RuntimeDetection, point: OperatingPoint) -> RuntimeDetection:
    """Give the options of a detection with the settings that an operating point was found with.

    Raises:
        UserError: The point is of other weights, or the user gave another value.
    """
    metadata = _check_weights(point, options)  # first, as other weights have other settings
    taken: dict[str, Any] = {}
    for name, argument in _DECIDED.items():
        wanted, own = getattr(point.settings, name), getattr(options, argument)
        # A size can be said in several ways: 640, or 640 640 to a file of that shape alone.
        same = metadata.sizes(options.size) == metadata.sizes(wanted) if name == "imgsz" else own == wanted
        if own is not None and not same:
            raise other_setting(options.operating_point, argument, own, wanted)
        taken[argument] = wanted
    return replace(options, **taken)


def _check_weights(point: OperatingPoint, options: RuntimeDetection) -> Metadata:
    """Give the facts of a file; raise UserError where an operating point is of other weights."""
    _, metadata, digest = identify(options.weights)
    if point.settings.weights != digest or point.settings.classes != metadata.names:
        raise UserError(
            f"--operating-point {options.operating_point}: is of other weights ({point.settings.weights_file}); detect "
            f"with those, or find the point of these: moat val --weights {options.weights}"
        )
    return metadata
