"""Finding the operating point that a user asks for in a validation's detections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moat_det.evaluation.inspection.choose_threshold import Choice, choose_threshold, just_above
from moat_det.evaluation.inspection.evidence import Evidence, read_evidence, read_evidence_by_class
from moat_det.evaluation.inspection.operating_point import ClassPoint, OperatingPoint
from moat_det.evaluation.inspection.rates import PartRate
from moat_det.evaluation.inspection.rule import Rule
from moat_det.evaluation.inspection.settings import Settings
from moat_det.evaluation.inspection.targets import Target, TargetOptions

# What is paid for a target, in the words of the figures, and the target that is about it.
_COSTS = {
    "max_escape": ("overkill", "max_overkill"),
    "max_overkill": ("escape", "max_escape"),
    "target_recall": ("false_alarms_per_image", "max_false_alarms_per_image"),
    "max_false_alarms_per_image": ("recall", "target_recall"),
}


@dataclass(frozen=True)
class Thresholds:
    """The two thresholds of all classes together.

    Attributes:
        choice: Of the target's.
        reject: From it on a part is rejected; None where the target is out of reach.
        review: From it on a part goes to review; None without a review.
        share: The share of parts between the two, and its limit; None without a review.
    """

    choice: Choice
    reject: float | None
    review: float | None = None
    share: tuple[float, float] | None = None


def find_operating_point(
    ground_truth: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    options: TargetOptions,
    settings: Settings,
    group: str | None = None,
) -> OperatingPoint:
    """Find the thresholds that meet a target at the least cost.

    Several promises share the error that the confidence leaves: two where there is a review, one for each class where
    each meets the target by itself (Bonferroni).

    Args:
        ground_truth: The COCO dictionary that a validation writes.
        predictions: Its detections, in COCO's results format.
        options: With a target.
        settings: What the validation measured with.
        group: What makes images one part, as `read_parts` takes it.

    Returns:
        The point; its threshold is None where the target is out of reach.

    Raises:
        UserError: As `read_parts` does.
    """
    target = options.target
    assert target is not None
    evidence, lowest = read_evidence(ground_truth, predictions, group), just_above(settings.conf)
    by_class: dict[str, ClassPoint] = {}
    per_class: dict[str, float] = {}
    if options.per_class:
        looked_for = [settings.classes[index] for index in settings.only or range(len(settings.classes))]
        of_classes = read_evidence_by_class(ground_truth, predictions, looked_for, group)
        confidence = 1 - (1 - options.confidence) / len(of_classes)
        choices = {
            name: choose_threshold(of_class.rate(target.name), target.most, confidence, lowest)
            for name, of_class in of_classes.items()
        }
        by_class = {name: _class_point(choice, target) for name, choice in choices.items()}
        reached = {name: choice.threshold for name, choice in choices.items() if choice.threshold is not None}
        per_class = reached if len(reached) == len(choices) else {}
        worst = max(choices.values(), key=lambda choice: (choice.threshold is None, choice.limit or 2.0))
        found = Thresholds(worst, min(per_class.values(), default=None))
        if per_class:
            counted = Rule(min(per_class.values()), per_class=per_class).counted(ground_truth, predictions)
            evidence = read_evidence(ground_truth, counted, group)
    else:
        found = choose_thresholds(evidence, target, options.max_review, options.confidence, lowest)
    choice = found.choice
    return OperatingPoint(
        threshold=found.reject,
        review=found.review,
        per_class=per_class,
        target=target,
        confidence=options.confidence,
        estimate=None if choice.value is None else target.shown(choice.value),
        limit=None if choice.limit is None else target.shown(choice.limit),
        nearest=choice.nearest if found.reject is None else None,
        unit=evidence.rate(target.name).unit,
        units=choice.units,
        needed=choice.needed,
        max_review=None
        if found.share is None or options.max_review is None
        else {"value": options.max_review, "estimate": found.share[0], "limit": found.share[1]},
        cost=_cost(evidence, target, found, options.confidence),
        temperature=1.0,
        bias=0.0,
        parts=len(evidence.scores),
        defective_parts=int(evidence.defective.sum()),
        group=group,
        settings=settings,
        by_class=by_class,
    )


def choose_thresholds(
    evidence: Evidence, target: Target, max_review: float | None, confidence: float, lowest: float
) -> Thresholds:
    """Choose the threshold of a target, and with a review the other one, as far from it as the review allows.

    What is missed is passed, and lies below the review: a target of it sets the review, and the threshold rises above
    until it rejects no good part. False alarms are rejected: a target of them sets the threshold, and the review sinks
    below until it passes no defective part that anything was found on.

    Args:
        evidence: Of all classes.
        target: What is promised.
        max_review: The most of all parts that may go to review; None: there is no review.
        confidence: The probability that all that is promised holds.
        lowest: The lowest threshold there may be.
    """
    rate, scores = evidence.rate(target.name), evidence.scores
    if max_review is None:
        choice = choose_threshold(rate, target.most, confidence, lowest)
        return Thresholds(choice, choice.threshold)
    each = 1 - (1 - confidence) / 2
    choice = choose_threshold(rate, target.most, each, lowest)
    first = choice.threshold
    if first is None:
        return Thresholds(choice, None)
    between = scores[scores >= first] if rate.rises else scores[scores < first]
    share = PartRate("parts", between, rate.rises, others=len(scores) - len(between))
    # Where the parts are too few to show anything of a review, there is none: its share is 0 for certain.
    second = choose_threshold(share, max_review, each, first if rate.rises else lowest).threshold or first
    if rate.rises:
        good = scores[evidence.good]
        second = max(first, min(second, just_above(good.max(initial=0.0))))
        reject, review = second, first
    else:
        found = scores[evidence.defective & (scores > 0)]
        second = min(first, max(second, found.min(initial=first)))
        reject, review = first, second
    limit = share.limit(second, each) if second != first else 0.0
    return Thresholds(choice, reject, review, (share.value(second) if second != first else 0.0, limit))


def _class_point(choice: Choice, target: Target) -> ClassPoint:
    return ClassPoint(
        threshold=choice.threshold,
        nearest=choice.nearest if choice.threshold is None else None,
        estimate=None if choice.value is None else target.shown(choice.value),
        limit=None if choice.limit is None else target.shown(choice.limit),
        units=choice.units,
        needed=choice.needed,
    )


def _cost(evidence: Evidence, target: Target, found: Thresholds, confidence: float) -> dict[str, Any] | None:
    """Give the rate that pays for the target, at the threshold or at the nearest one."""
    name, other = _COSTS[target.name]
    paid = evidence.rate(other)
    threshold = found.choice.nearest if found.reject is None else found.reject
    if found.review is not None and paid.rises:
        threshold = found.review  # what is missed is what passes
    interval = None if threshold is None else paid.interval(threshold, confidence)
    if interval is None:
        return None
    shown = [Target(other, 0.0).shown(value) for value in interval]
    return {"name": name, "value": shown[0], "low": min(shown[1:]), "high": max(shown[1:])}
