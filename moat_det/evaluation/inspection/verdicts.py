"""The verdict on each part: pass, review or reject, when all its images were seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath

import numpy as np

from moat_det.data.groups import group_of
from moat_det.evaluation.inspection.operating_point import OperatingPoint
from moat_det.evaluation.inspection.shown_probability import calibrated

VERDICTS = "verdicts.json"
"""What `moat detect` calls its file of them."""


class Verdict(str, Enum):
    """What becomes of a part, from best to worst."""

    PASS = "pass"
    REVIEW = "review"
    REJECT = "reject"


@dataclass(frozen=True)
class PartVerdict:
    """A part and what becomes of it.

    Attributes:
        part: The name of its image, or what its images share.
        verdict: One of the three words.
        score: The highest of any detection; 0 without one.
        probability: That its best detection is right, by the calibration of the operating point.
        images: How many of its images were seen.
        unreadable: How many could not be read.
    """

    part: str
    verdict: str
    score: float
    probability: float
    images: int
    unreadable: int


@dataclass
class _Seen:
    verdict: Verdict = Verdict.PASS
    score: float = 0.0
    images: int = 0
    unreadable: int = 0
    files: int = 0


class Verdicts:
    """Gathers what is found in images into parts.

    A frame of a video, or another picture of a file, is a part of its own where there is no group.

    Args:
        point: With a threshold.
    """

    def __init__(self, point: OperatingPoint) -> None:
        self._point = point
        self._parts: dict[str, _Seen] = {}
        self._pictures: dict[str, int] = {}
        self._expected: Counter[str] = Counter()

    def expect(self, names: Iterable[str]) -> None:
        """Take note of the images that are to come: of a part of which one was not seen nobody knows that it passes.

        Args:
            names: Of the images, as `add` takes them; one that is named twice comes once more, and tells no more.

        Raises:
            UserError: The group of the operating point does not match a name.
        """
        self._expected.update(map(self.part_of, dict.fromkeys(names)))

    def add(self, name: str, scores: Iterable[float], classes: Iterable[str], whole: bool = True) -> str:
        """Take in the detections of an image.

        Args:
            name: Of the image: the path of its file below what was read, with `/`.
            scores: Of its detections.
            classes: Their classes.
            whole: The file holds no more; False for a frame of a video, which `end` says.

        Returns:
            The part that the image is of.

        Raises:
            UserError: The group of the operating point does not match the name.
        """
        name, seen = self._next_picture(name)
        part = self._parts.setdefault(name, _Seen())
        for score, label in zip(scores, classes, strict=True):
            part.verdict = _worse(part.verdict, self._judge(score, label))
            part.score = max(part.score, score)
        part.images += 1
        part.files += seen == 1 and (whole or self._point.group is None)
        return name

    def end(self, name: str) -> None:
        """Take note that all frames of a video were seen: a part that it is of may pass now."""
        if self._point.group is not None and (part := self._parts.get(self.part_of(name))):
            part.files += 1

    def hold(self, part: str) -> None:
        """Have a part looked at that would pass: something in it is unlike all good parts."""
        seen = self._parts[part]
        seen.verdict = _worse(seen.verdict, Verdict.REVIEW)

    def add_unreadable(self, name: str) -> None:
        """Take in an image, or frames of a video or camera, that nobody saw: their part does not pass unseen."""
        name, seen = self._next_picture(name)
        part = self._parts.setdefault(name, _Seen())
        part.unreadable += 1
        part.files += seen == 1
        part.verdict = _worse(part.verdict, Verdict.REVIEW)

    def _next_picture(self, name: str) -> tuple[str, int]:
        """Give the part that the next picture of a file is of, and which one of the file's it is."""
        seen = self._pictures[name] = self._pictures.get(name, 0) + 1
        part = self.part_of(name)
        return (f"{part} #{seen}" if seen > 1 and self._point.group is None else part), seen

    def part_of(self, name: str) -> str:
        """Give the part that an image is of; raises `UserError` where the group does not match its name."""
        group = self._point.group
        return name if group is None else group_of(PurePosixPath(name).name, group)

    def of(self, part: str) -> PartVerdict:
        """Give the verdict on a part, as far as its images were seen; it does not pass before all were."""
        return self._read(part, self._parts[part])

    def parts(self) -> list[PartVerdict]:
        """Give the verdict on each part, in the order they were first seen."""
        return [self._read(part, seen) for part, seen in self._parts.items()]

    def _read(self, part: str, seen: _Seen) -> PartVerdict:
        probability = float(calibrated(np.array(seen.score), self._point.temperature, self._point.bias))
        whole = seen.files >= self._expected[part]
        verdict = seen.verdict if whole else _worse(seen.verdict, Verdict.REVIEW)
        return PartVerdict(part, verdict.value, seen.score, probability, seen.images, seen.unreadable)

    def _judge(self, score: float, label: str) -> Verdict:
        point = self._point
        assert point.threshold is not None
        if score >= point.per_class.get(label, point.threshold):
            return Verdict.REJECT
        return Verdict.REVIEW if point.review is not None and score >= point.review else Verdict.PASS


def _worse(one: Verdict, other: Verdict) -> Verdict:
    order = list(Verdict)
    return max(one, other, key=order.index)
