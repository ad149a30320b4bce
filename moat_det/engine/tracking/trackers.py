"""The engine's trackers, with settings from a YAML: which detection of a frame is which defect of those before."""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from moat_det.errors import UserError
from moat_det.messages import shown, some
from moat_det.paths import named_yaml
from moat_det.strict_yaml import read_yaml
from moat_det.values import is_count, is_number

_CAMERA_MOTION = ("sparseOptFlow", "orb", "sift", "ecc", "none")
_ALLOWED = {
    "tracker_type": "bytetrack or botsort",
    "track_low_thresh": "a score from 0 to 1",
    "track_buffer": "a whole number of frames, 0 or more",
    "match_thresh": "a number from 0 to 1",
    "fuse_score": "true or false",
    "gmc_method": f"one of {', '.join(_CAMERA_MOTION)}",
}


@dataclass(frozen=True)
class TrackerSettings:
    """A tracker's file; the keys are the engine's.

    Attributes:
        tracker_type: "bytetrack" or "botsort".
        track_low_thresh: The least score of a detection that goes on with a track.
        track_buffer: Frames that a track waits for its defect.
        match_thresh: The largest 1 - IoU of a track and a detection that may be one defect.
        fuse_score: Multiply the IoU with the detection's score.
        gmc_method: How BoT-SORT finds the camera's motion, "none" for not at all.
    """

    tracker_type: str
    track_low_thresh: float = 0.1
    track_buffer: int = 30
    match_thresh: float = 0.8
    fuse_score: bool = False
    gmc_method: str = "none"


class FixedMotion:
    """A motion that is known, in the place of the engine's search for that of the camera.

    Args:
        x: Pixels to the right, from a frame to the next.
        y: Pixels down.
    """

    method = "fixed"

    def __init__(self, x: float, y: float) -> None:
        self._warp = np.array([[1.0, 0.0, x], [0.0, 1.0, y]])

    def apply(self, image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Give the warp (2, 3) from the last frame to this one."""
        return self._warp


def load_tracker(name: str | Path) -> TrackerSettings:
    """Read the settings of a tracker.

    Args:
        name: One of `cfg/tracking/`, or the path of a YAML (`.yaml` or `.yml`).

    Raises:
        UserError: There is no such tracker, or a key or a value of its file is wrong.
    """
    file = named_yaml("tracking", name, "--tracker")
    content = read_yaml(file)
    if not isinstance(content, dict):
        raise UserError(f"--tracker {file}: must hold keys such as 'tracker_type: bytetrack'")
    known = [each.name for each in fields(TrackerSettings)]
    if unknown := [shown(key) for key in content if key not in known]:
        raise UserError(
            f"--tracker {file}: {some(unknown, 6)} not known here; a file has {', '.join(known)}; the score that "
            "begins a track is --conf"
        )
    absent = [each.name for each in fields(TrackerSettings) if each.default is MISSING and each.name not in content]
    for key in absent:
        raise UserError(f"--tracker {file}: lacks '{key}'; write {_ALLOWED[key]}")
    for key, value in content.items():
        if not _fits(key, value):
            raise UserError(f"--tracker {file}: '{key}: {shown(value)}'; write {_ALLOWED[key]}")
    return TrackerSettings(**content)


def check_installed() -> None:
    """Raise UserError where the package is missing by which the engine assigns detections to tracks."""
    if find_spec("lap") is None:
        raise UserError("tracking needs the package lap: install it with pip install 'moat_det[track]'")


def make_tracker(settings: TrackerSettings, motion: tuple[float, float] | None) -> Any:
    """Make a tracker that has seen no frame.

    Args:
        settings: Its own.
        motion: Pixels (x, y) that what is seen moves from a frame to the next, where it is known.
    """
    from ultralytics.trackers import BOTSORT, BYTETracker  # which load `lap`

    own = {**asdict(settings), "with_reid": False, "proximity_thresh": 0.0, "appearance_thresh": 0.0}
    arguments = SimpleNamespace(**own, new_track_thresh=0.0, track_high_thresh=0.0)
    tracker = (BOTSORT if settings.tracker_type == "botsort" else BYTETracker)(arguments)
    if motion is not None:
        tracker.gmc = FixedMotion(*motion)
    return tracker


def _fits(key: str, value: Any) -> bool:
    if key == "tracker_type":
        return value in ("bytetrack", "botsort")
    if key == "fuse_score":
        return isinstance(value, bool)
    if key == "gmc_method":
        return value in _CAMERA_MOTION
    if key == "track_buffer":
        return is_count(value, 0)
    return is_number(value) and 0 <= value <= 1
