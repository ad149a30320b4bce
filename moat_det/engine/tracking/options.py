"""Our own options of tracking, and the settings that they come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from moat_det.engine.tracking.trackers import TrackerSettings, load_tracker
from moat_det.errors import UserError
from moat_det.messages import as_given
from moat_det.options import option, options_of
from moat_det.values import is_count, is_number

IOU = 0.4
"""The overlap from which two detections in a frame are one: two boxes on one defect would be counted as two."""


@dataclass(frozen=True)
class TrackingOptions:
    """Our own options of tracking.

    Attributes:
        tracker: See `load_tracker`.
        motion: How far the belt moves from a frame of the source to the next: pixels to the right, and down.
        min_frames: In how many frames a defect must be found to count.
    """

    tracker: str = option("bytetrack", "bytetrack, botsort, or a YAML of your own", metavar="NAME_OR_YAML")
    motion: list[float] | None = option(
        None,
        "pixels that the belt moves to the right, and down, from a frame of the source to the next",
        takes="list",
        metavar="X Y",
    )
    min_frames: int = option(2, "frames in which a defect must be found to count")


@dataclass(frozen=True)
class Tracking:
    """How defects are followed.

    Attributes:
        tracker: The tracker's own settings.
        motion: Pixels (x, y) that the belt moves from a frame of the source to the next.
        min_frames: In how many frames a defect must be found to count.
        conf: The least score, by class, of a detection that begins a track.
    """

    tracker: TrackerSettings
    motion: tuple[float, float] | None = None
    min_frames: int = 2
    conf: tuple[float, ...] = ()

    @classmethod
    def take(cls, arguments: dict[str, Any]) -> Tracking:
        """Take the settings out of keyword arguments.

        Raises:
            UserError: A value is out of its range, or the tracker's file is not in order.
        """
        given = {name: arguments.pop(name) for name in options_of(TrackingOptions) if name in arguments}
        options = TrackingOptions(**{name: value for name, value in given.items() if value is not None})
        if not is_count(options.min_frames):
            raise UserError(f"--min-frames {as_given(options.min_frames)}: must be a whole number of frames, 1 or more")
        motion = None if options.motion is None else _read_motion(options.motion)
        return cls(load_tracker(options.tracker), motion, options.min_frames)

    @property
    def least_score(self) -> float:
        """The score from which on detections are of use to the tracker."""
        return min(self.tracker.track_low_thresh, *self.conf)


def _read_motion(given: Any) -> tuple[float, float]:
    values = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    if len(values) != 2 or not all(map(is_number, values)):
        words = " ".join(map(as_given, values))
        raise UserError(f"--motion {words}: give pixels to the right, and down, as in --motion 24 0")
    return float(values[0]), float(values[1])
