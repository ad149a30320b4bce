"""The operating point: from which score on a part is rejected, or looked at, what that promises, and for what."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from moat_det.errors import UserError
from moat_det.evaluation.inspection.settings import Settings
from moat_det.evaluation.inspection.targets import Target
from moat_det.files import atomic_write_json

OPERATING_POINT = "operating_point.json"
"""What a validation calls its file."""


@dataclass(frozen=True)
class ClassPoint:
    """What the parts show of one class.

    Attributes:
        threshold: Its own; None where the target is out of reach.
        nearest: That which comes nearest to the target then.
        estimate: The target's rate at it, as measured; None where there is nothing to measure.
        limit: Its one-sided limit.
        units: How many were measured of what the rate is of.
        needed: How many would show it.
    """

    threshold: float | None
    nearest: float | None
    estimate: float | None
    limit: float | None
    units: int
    needed: int | None


@dataclass(frozen=True)
class OperatingPoint:
    """Thresholds, and what is promised of them.

    A part whose score is at least `threshold` is rejected; else it goes to review where it is at least `review`; else
    it passes. Where `per_class` is not empty, a part is rejected whose score in a class is at least that class's.

    Attributes:
        threshold: None where the target is out of reach; with `per_class` the least of those.
        review: None where there is no review.
        per_class: The threshold of each class, by its name; empty unless each meets the target by itself.
        target: What is promised.
        confidence: The probability, over the parts drawn, that all that is promised holds.
        estimate: The target's rate as measured, at `threshold`, or else at `nearest`; with `per_class` that of the
            class that is worst off; None where there is nothing to measure.
        limit: Its one-sided limit: the true rate is not worse, with the confidence.
        nearest: Where the target is out of reach, the threshold that comes nearest to it.
        unit: What the rate is of, in the plural, such as "defective parts".
        units: How many of these were measured.
        needed: How many would show that `nearest` meets the target, if the others went alike; None where it does, or
            where no number would.
        max_review: `value`, the most of all parts that may go to review, and `estimate` and `limit`; None without.
        cost: The rate that pays for the target: its `name`, `value`, `low` and `high`, two-sided; None where there is
            nothing to measure.
        by_class: With a target of each class by itself, what the parts show of each.
        temperature: Divides the logit of a score for the probability that is shown; thresholds are on raw scores.
        bias: Is added to it.
        parts: How many parts were measured.
        defective_parts: How many of them were defective.
        group: What makes images one part; None: each is one.
        settings: What was measured, and how.
    """

    threshold: float | None
    review: float | None
    per_class: dict[str, float]
    target: Target
    confidence: float
    estimate: float | None
    limit: float | None
    nearest: float | None
    unit: str
    units: int
    needed: int | None
    max_review: dict[str, float] | None
    cost: dict[str, Any] | None
    temperature: float
    bias: float
    parts: int
    defective_parts: int
    group: str | None
    settings: Settings
    by_class: dict[str, ClassPoint] = field(default_factory=dict)

    @property
    def least(self) -> float:
        """The score from which on a detection matters to a verdict; raises `ValueError` where there is no threshold."""
        if self.threshold is None:
            raise ValueError("the target is out of reach: there is no threshold")
        return self.threshold if self.review is None else self.review

    def least_scores(self) -> np.ndarray:
        """Give the score of each class above which a detection matters to a verdict, (nc,) float32.

        Just below the threshold: suppression keeps what is above, and a verdict looks at what is at a threshold too.

        Raises:
            ValueError: There is no threshold.
        """
        scores = [self.per_class.get(name, self.least) for name in self.settings.classes]
        return np.nextafter(np.array(scores, np.float32), np.float32(0))

    def write(self, path: str | Path) -> None:
        """Write it as JSON, the settings beside all else, atomically; raises `OSError` where that cannot be."""
        content = asdict(self)
        settings = content.pop("settings")
        atomic_write_json(path, {**content, **settings}, indent=2)


def read_operating_point(path: str | Path) -> OperatingPoint:
    """Read the file that a validation wrote.

    Raises:
        UserError: There is none, or it is none.
    """
    path = Path(path)
    way_out = "give an operating_point.json that moat val wrote, e.g. with --max-escape 0.01"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        own = {each.name: content[each.name] for each in fields(OperatingPoint) if each.name != "settings"}
        own["target"] = Target(**own["target"])
        own["by_class"] = {name: ClassPoint(**point) for name, point in own["by_class"].items()}
        point = OperatingPoint(**own, settings=Settings.of(content))
        _check(point)
    except FileNotFoundError:
        raise UserError(f"--operating-point {path}: there is no such file; {way_out}") from None
    except (OSError, UnicodeDecodeError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"--operating-point {path}: is no operating point ({error!r}); {way_out}") from None
    return point


def read_thresholds(path: str | Path) -> OperatingPoint:
    """Read an operating point to detect by.

    Raises:
        UserError: As `read_operating_point`, or its target was out of reach.
    """
    point = read_operating_point(path)
    if point.threshold is None:
        raise UserError(
            f"--operating-point {path}: holds no threshold, since {point.target.name} {point.target.value:g} was "
            f"out of reach at a confidence of {point.confidence:g}; ask moat val for less, or label more parts"
        )
    return point


def other_setting(file: Any, argument: str, given: Any, wanted: Any) -> UserError:
    """Give the error of a user's setting that the thresholds of an operating point do not hold for."""
    flag = "--" + argument.replace("_", "-")
    return UserError(
        f"{flag} {given}: the thresholds of {file} hold for {wanted}; leave {flag} out, or find a point with it by "
        "moat val"
    )


def _check(point: OperatingPoint) -> None:
    """Raise `ValueError` where a threshold is no score."""
    scores = [point.threshold, point.review, *point.per_class.values()]
    if not all(score is None or 0 < float(score) <= 2 for score in scores):
        raise ValueError(f"thresholds {scores}")
    if set(point.per_class) - set(point.settings.classes):
        raise ValueError(f"per_class {sorted(point.per_class)}")
