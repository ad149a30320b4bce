"""The defects of a run: each detection gets the number of its defect, and each defect counts once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from ultralytics.engine.results import Boxes

from moat_det.engine.results import Results
from moat_det.engine.tracking.options import Tracking
from moat_det.engine.tracking.trackers import make_tracker
from moat_det.evaluation.ground_truth import written_corners


@dataclass
class Track:
    """A defect, over the frames in which it was found.

    Attributes:
        number: From 1, in the order of their first frames; each once in a run.
        source: The video, the camera, or the folder of the frames.
        first: The first frame it was found in; frames are counted from 1 in each source.
        last: The last one.
        frames: In how many it was found.
        frame: That of its best detection.
        file: That of its best detection: the picture, or the video.
        score: That of its best detection.
        box: That of its best detection: x1, y1, x2, y2 in pixels of the frame.
        votes: The sum of the scores by class.
    """

    number: int
    source: str
    first: int
    last: int = 0
    frames: int = 0
    frame: int = 0
    file: str = ""
    score: float = -1.0
    box: tuple[float, ...] = ()
    votes: dict[int, float] = field(default_factory=dict)

    @property
    def label(self) -> int:
        """The class that its detections speak for."""
        return max(self.votes, key=lambda label: (self.votes[label], -label))

    def add(self, frame: int, file: str, box: Any) -> None:
        """Take in its detection in a frame, one box of the engine's."""
        score = float(box.conf[0])
        self.last, self.frames = frame, self.frames + 1
        label = int(box.cls[0])
        self.votes[label] = self.votes.get(label, 0.0) + score
        if score > self.score:
            self.frame, self.file, self.score = frame, file, score
            self.box = tuple(written_corners(box.xyxy)[0].tolist())


class Tracks:
    """Follows the defects of each source by a tracker of its own.

    Args:
        settings: How.
        stride: One frame in so many is looked at, the last of them.

    Attributes:
        stride: As given.
        frames: How many frames of each source were looked at, with those that could not be read.
        min_frames: In how many frames a defect must be found to count.
        tracker: The tracker's type.
    """

    def __init__(self, settings: Tracking, stride: int) -> None:
        self.frames: Counter[str] = Counter()
        self.min_frames, self.tracker = settings.min_frames, settings.tracker.tracker_type
        self._settings, self.stride = settings, stride
        self._conf = np.array(settings.conf)
        motion = settings.motion
        self._motion = None if motion is None else (motion[0] * stride, motion[1] * stride)
        self._trackers: dict[str, Any] = {}
        self._losses: Counter[str] = Counter()
        self._tracks: dict[tuple[str, int, int], Track] = {}

    @property
    def tracks(self) -> list[Track]:
        """All so far, those too that were found in too few frames to count."""
        return list(self._tracks.values())

    def counts(self, source: str | None = None) -> Counter[int]:
        """Count the defects by class, of one source or of all."""
        tracks = (track for track in self.tracks if source in (None, track.source) and self.is_counted(track))
        return Counter(sorted(track.label for track in tracks))

    def is_counted(self, track: Track) -> bool:
        """Whether a track was found in enough frames."""
        return track.frames >= self.min_frames

    def skip(self, source: str) -> None:
        """Take note of the next frame of a source where nobody saw it: it counts, and what is known moves on."""
        self.frames[source] += 1
        # The engine asks for the motion only where there is a picture. The known one needs none; that of the camera is
        # found at the next picture, from the last one on.
        picture = None if self._motion is None else np.zeros((1, 1, 3), np.uint8)
        self._step(source, Boxes(np.zeros((0, 6), np.float32), (1, 1)), picture)

    def lose(self, source: str) -> None:
        """End all tracks of a source that showed nothing for nobody knows how many frames."""
        self._trackers.pop(source, None)
        self._losses[source] += 1  # the numbers of the next tracker begin anew

    def _step(self, source: str, boxes: Any, picture: np.ndarray | None) -> Any:
        """Take the tracker of a source to its next frame, and give it."""
        if source not in self._trackers:
            self._trackers[source] = make_tracker(self._settings.tracker, self._motion)
        tracker = self._trackers[source]
        # The engine compares with one score; the array makes it each detection's own, by its class.
        tracker.args.track_high_thresh = self._conf[boxes.cls.astype(int)]
        tracker.update(boxes, picture)
        return tracker

    def follow(self, result: Results, source: str, file: str) -> None:
        """Give the detections of the next frame of a source their numbers; those that are no defect's go.

        Args:
            result: All detections from the least score on that is of use; changed in place.
            source: Which one the frame is of.
            file: The frame's, or the video's.
        """
        self.frames[source] += 1
        frame = result.frame = self.frames[source] * self.stride
        boxes = result.boxes.cpu().numpy()
        tracker = self._step(source, boxes, result.orig_img)
        rows, numbers = [], []
        for found in sorted(tracker.tracked_stracks, key=lambda found: found.track_id):
            found.is_activated = True  # the engine drops one for good that is not found again in the very next frame
            key = source, self._losses[source], found.track_id
            track = self._tracks.setdefault(key, Track(len(self._tracks) + 1, source, first=frame))
            row = int(found.idx)
            track.add(frame, file, boxes[row])
            rows.append(row)
            numbers.append(track.number)
        data = result.boxes.data[rows]
        ids = torch.tensor(numbers, dtype=data.dtype, device=data.device)
        numbered = torch.cat([data[:, :4], ids[:, None], data[:, 4:]], dim=1)
        result.boxes = Boxes(numbered, result.orig_shape)
