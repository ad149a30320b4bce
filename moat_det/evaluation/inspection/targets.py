"""What a user may ask of a threshold."""

from __future__ import annotations

from dataclasses import dataclass

from moat_det.errors import UserError
from moat_det.options import option
from moat_det.values import is_number

CONFIDENCE = 0.95
"""That of limits and intervals, where nobody asked for another."""

_RATES = ("target_recall", "max_escape", "max_overkill", "max_review")
_PROMISES = ("target_recall", "max_false_alarms_per_image", "max_escape", "max_overkill")


@dataclass(frozen=True)
class Target:
    """What is promised of the threshold.

    Attributes:
        name: "target_recall", "max_false_alarms_per_image", "max_escape" or "max_overkill".
        value: The least recall; else the most of the others.
    """

    name: str
    value: float

    @property
    def most(self) -> float:
        """What the rate that shall be low may be at most: of recall, the share of missed boxes."""
        return 1 - self.value if self.name == "target_recall" else self.value

    def shown(self, rate: float) -> float:
        """Give the rate that shall be low, or its limit, as the target names it."""
        return 1 - rate if self.name == "target_recall" else rate


@dataclass(frozen=True)
class TargetOptions:
    """The target of an operating point; one at most.

    Attributes:
        target_recall: Boxes found, as a share of all.
        max_false_alarms_per_image: Detections that find no box, per image.
        max_escape: Defective parts passed, as a share of the defective parts.
        max_overkill: Good parts rejected, as a share of the good parts.
        max_review: Parts that go to a person, as a share of all parts.
        confidence: The probability, over the parts drawn, that what is promised holds.
        per_class: Each class meets the target by itself.

    Raises:
        UserError: There are several targets, a value is out of its range, or needs another option.
    """

    target_recall: float | None = option(None, "choose the threshold at which so many of the boxes are found, 0.99")
    max_false_alarms_per_image: float | None = option(None, "choose that of at most so many false alarms, 0.1")
    max_escape: float | None = option(None, "choose that which passes at most so many of the defective parts, 0.001")
    max_overkill: float | None = option(None, "choose that which rejects at most so many of the good parts, 0.02")
    max_review: float | None = option(None, "two thresholds, between which at most so many of all parts lie, 0.05")
    confidence: float = option(CONFIDENCE, "how sure the promise of a target is to hold")
    per_class: bool = option(False, "a threshold for each class, at which it meets the target by itself")

    def __post_init__(self) -> None:
        """Check the values."""
        for name in (*_RATES, "confidence"):
            value = getattr(self, name)
            if value is not None and not (is_number(value) and 0 < value < 1):
                raise UserError(f"{_flag(name)} {value}: must be a share above 0 and below 1, such as 0.95 or 0.02")
        alarms = self.max_false_alarms_per_image
        if alarms is not None and not (is_number(alarms) and alarms > 0):
            raise UserError(f"--max-false-alarms-per-image {alarms}: must be a number above 0, such as 0.1")
        given = [name for name in _PROMISES if getattr(self, name) is not None]
        if len(given) > 1:
            raise UserError(f"{' and '.join(map(_flag, given))}: a threshold has one target; give one of them")
        for name in ("max_review", "per_class"):
            if getattr(self, name) and not given:
                raise UserError(f"{_flag(name)} needs a target: add one of {', '.join(map(_flag, _PROMISES))}")
        if self.per_class and self.max_review is not None:
            raise UserError("--per-class and --max-review: two thresholds are for all classes together; leave one out")

    @property
    def target(self) -> Target | None:
        """The target; None where none was given."""
        given = [Target(name, getattr(self, name)) for name in _PROMISES if getattr(self, name) is not None]
        return given[0] if given else None


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
