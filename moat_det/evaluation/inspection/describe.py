"""An operating point in words, for the terminal."""

from __future__ import annotations

from moat_det.evaluation.inspection.operating_point import ClassPoint, OperatingPoint
from moat_det.evaluation.inspection.targets import Target

_RATES = {
    "max_escape": "escape",
    "max_overkill": "overkill",
    "target_recall": "recall",
    "max_false_alarms_per_image": "false alarms per image",
}


def describe(point: OperatingPoint) -> list[str]:
    """Give the lines: what is promised, what it costs, and what to know of it; or why there is no threshold."""
    lines = _promise(point) if point.threshold is not None else [_out_of_reach(point)]
    lines += [f"  {name}: {_class_line(of_class, point)}" for name, of_class in point.by_class.items()]
    if point.cost is not None and point.threshold is not None:
        cost = point.cost
        lines.append(
            f"  it costs: {cost['name'].replace('_', ' ')} {_number(cost['value'])} "
            f"({_number(cost['low'])} to {_number(cost['high'])})"
        )
    if point.settings.chosen_on_same_split:
        lines.append(
            "  the model was chosen by these same images: the promise is weaker than it says; find the point on a "
            "split that chose nothing, --split test"
        )
    elif point.settings.chosen_on_same_split is None:
        lines.append(
            "  the weights do not say which images the model was chosen by; the promise needs others than those"
        )
    return lines


def _promise(point: OperatingPoint) -> list[str]:
    where = f"reject from a score of {_number(point.threshold)} on"
    if point.review is not None:
        where += f", review from {_number(point.review)} on"
    if point.per_class:
        where = "reject from the score of the class on"
    lines = [
        f"Operating point: {where}",
        f"  {_asked(point.target)} holds with a confidence of {point.confidence:g}: {_RATES[point.target.name]} is "
        f"{_number(point.estimate)} on {point.units} {point.unit}, {_side(point.target)} {_number(point.limit)}"
        + (" (the worst class)" if point.per_class else ""),
    ]
    if point.max_review is not None:
        share = point.max_review
        lines.append(
            f"  to review go {_number(share['estimate'])} of all parts, at most {_number(share['limit'])}: both "
            "together hold with that confidence"
        )
    return lines


def _out_of_reach(point: OperatingPoint) -> str:
    begin = f"No operating point: {_asked(point.target)} is out of reach at a confidence of {point.confidence:g}"
    if point.by_class:
        return f"{begin} in a class; by class:"
    if point.limit is None:
        return f"{begin}: there are no {point.unit} among the {point.parts} parts of the split; add some"
    near = (
        f"the nearest is a score of {_number(point.nearest)}, where {_RATES[point.target.name]} is "
        f"{_number(point.estimate)} on {point.units} {point.unit}, {_side(point.target)} {_number(point.limit)}"
    )
    return f"{begin}: {near}; {_more(point.needed, point.units, point.unit, point.settings.conf)}"


def _class_line(found: ClassPoint, point: OperatingPoint) -> str:
    if found.limit is None or found.estimate is None:
        return f"no {point.unit} in the split: add some"
    at = f"{_number(found.estimate)} on {found.units} {point.unit}, {_side(point.target)} {_number(found.limit)}"
    if found.threshold is not None:
        return f"from {_number(found.threshold)} on: {at}"
    more = _more(found.needed, found.units, point.unit, point.settings.conf)
    return f"out of reach; from {_number(found.nearest)} on: {at}; {more}"


def _more(needed: int | None, have: int, unit: str, conf: float) -> str:
    if needed is None:
        return (
            "no number of parts would show it, as that is what was measured; it takes a better model, or an easier "
            f"target (nothing was looked for at scores of {conf:g} and less)"
        )
    return f"it would take {needed:,} {unit} that go alike, {needed - have:,} more"


def _asked(target: Target) -> str:
    return f"--{target.name.replace('_', '-')} {target.value:g}"


def _side(target: Target) -> str:
    return "at least" if target.name == "target_recall" else "at most"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
