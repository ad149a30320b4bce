"""The figures of an inspection as lines for the terminal."""

from __future__ import annotations

from moat_det.evaluation.inspection.inspection import Inspection
from moat_det.evaluation.inspection.intervals import Interval


def summary(inspection: Inspection) -> str:
    """Give what a person should know first, with intervals in brackets, and what could not be measured."""
    parts = inspection.parts
    defective = int(parts.defective.sum())
    missing = [
        f"no {kind} part in the split: {what} cannot be measured"
        for kind, there, what in (
            ("defective", defective, "escape and AUROC"),
            ("good", len(parts) - defective, "overkill and AUROC"),
        )
        if not there
    ]
    calibration = inspection.calibration
    lines = [
        f"{len(parts)} {'images' if inspection.group is None else 'groups of images'} as parts, {defective} defective; "
        f"in brackets {100 * inspection.confidence:g} % intervals",
        _line(
            f"at {inspection.rule}: ",
            _percent("escape", inspection.escape),
            _percent("overkill", inspection.overkill),
            _percent("looked at", inspection.reviewed),
            _percent("recall of boxes", inspection.recall),
            _number("false alarms per image", inspection.false_alarms_per_image),
        ),
        _line(
            "at any threshold: ",
            _number("AUROC", inspection.auroc),
            _percent("overkill at zero escape", inspection.overkill_at_zero_escape),
            _number("AP", inspection.ap),
        ),
        *missing,
    ]
    if calibration is not None:
        lines.append(
            f"scores are {100 * calibration.ece_before:.1f} % from the share of right detections on average (ECE), "
            f"calibrated ones {100 * calibration.ece_after:.1f} %"
        )
    return "\n".join(line for line in lines if line)


def _line(start: str, *figures: str | None) -> str:
    told = [figure for figure in figures if figure]
    return start + ", ".join(told) if told else ""


def _percent(name: str, interval: Interval | None) -> str | None:
    if interval is None:
        return None
    value, low, high = (f"{100 * end:.3g}" for end in interval)
    return f"{name} {value} % [{low}, {high}]"


def _number(name: str, interval: Interval | None) -> str | None:
    if interval is None:
        return None
    value, low, high = (f"{end:.3g}" for end in interval)
    return f"{name} {value} [{low}, {high}]"
