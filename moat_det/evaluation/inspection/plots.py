"""The curves of an inspection as pictures: ROC, FROC and reliability, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from moat_det.evaluation.inspection.calibration import Bin, Calibration
from moat_det.evaluation.inspection.inspection import Inspection
from moat_det.evaluation.inspection.intervals import Interval
from moat_det.evaluation.plots import save_figure
from moat_det.evaluation.validation_folder import FROC, RELIABILITY, ROC
from moat_det.report.palette import BLUE, VERMILLION


def plot_inspection(folder: Path, inspection: Inspection) -> None:
    """Draw `ROC_curve.png`, `FROC_curve.png` and `reliability.png`, those of which there is something to show.

    A picture of an earlier run of which there is nothing to show now is taken away.
    """
    for name, figure in (
        (ROC, _draw_roc(inspection)),
        (FROC, _draw_froc(inspection)),
        (RELIABILITY, None if inspection.calibration is None else _draw_reliability(inspection.calibration)),
    ):
        if figure is None:
            (folder / name).unlink(missing_ok=True)
        else:
            save_figure(figure, folder / name)


def _draw_roc(inspection: Inspection) -> Figure | None:
    """Draw what is rejected of the defective parts over what is rejected of the good ones."""
    curve = inspection.roc
    if curve is None or inspection.auroc is None:
        return None
    figure, axes = _panel(6.5)
    axes.plot(curve.overkill, 1 - curve.escape, color=BLUE, linewidth=1.8, drawstyle="steps-post")
    axes.plot([0, 1], [0, 1], color="0.75", linewidth=0.8)
    if inspection.escape is not None and inspection.overkill is not None:
        escape, overkill = inspection.escape, inspection.overkill
        caught = Interval(1 - escape.value, 1 - escape.high, 1 - escape.low)
        label = f"at {inspection.rule}: escape {escape.value:.1%}, overkill {overkill.value:.1%}"
        axes.errorbar(
            overkill.value,
            caught.value,
            xerr=_reach([overkill]),
            yerr=_reach([caught]),
            fmt="o",
            color=VERMILLION,
            capsize=3,
            zorder=3,
            label=label,
        )
        axes.legend(loc="lower right", frameon=False)
    axes.set(xlabel="Good parts rejected (overkill)", ylabel="Defective parts rejected (1 - escape)")
    axes.set_title(f"ROC of {len(inspection.parts)} parts, AUROC {_shown(inspection.auroc)}")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    return figure


def _draw_froc(inspection: Inspection) -> Figure | None:
    """Draw recall over false alarms per image, in steps of powers."""
    points = inspection.froc
    if not points:
        return None
    figure, axes = _panel(8)
    at = [point.false_alarms_per_image for point in points]
    recalls = [point.recall for point in points]
    values = [recall.value for recall in recalls]
    axes.plot(at, values, color=BLUE, linewidth=1.4)
    axes.errorbar(at, values, yerr=_reach(recalls), fmt="o", color=BLUE, capsize=3, markersize=4)
    axes.set(xscale="log", xlabel="False alarms per image, at most", ylabel="Boxes found (recall)")
    axes.set_xticks(at, [f"{each:g}" for each in at])
    axes.minorticks_off()
    axes.set_title(f"FROC at IoU 0.5, with {inspection.confidence:.0%} intervals")
    return figure


def _draw_reliability(calibration: Calibration) -> Figure:
    """Draw the share that is right over what is said, of the scores and of the probabilities."""
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    shown = (
        ("Scores", calibration.before, calibration.ece_before),
        ("Calibrated", calibration.after, calibration.ece_after),
    )
    for axes, (name, bins, error) in zip(panels, shown, strict=True):
        _dress(axes)
        axes.plot([0, 1], [0, 1], color="0.75", linewidth=0.8)
        total = sum(each.detections for each in bins)
        axes.bar(
            [each.low for each in bins],
            [each.detections / total for each in bins],
            width=[each.high - each.low for each in bins],
            align="edge",
            color="0.9",
            label="share of the detections",
        )
        right: Sequence[Interval] = [each.right for each in bins]
        axes.errorbar(
            [each.probability for each in bins],
            [interval.value for interval in right],
            yerr=_reach(right),
            fmt="o-",
            color=BLUE,
            capsize=3,
            markersize=4,
            label="share of them that is right",
        )
        axes.set(xlabel="Said of detections", title=f"{name}: ECE {error:.1%}")
        axes.xaxis.set_major_formatter(PercentFormatter(1))
    panels[0].set_ylabel("Right at IoU 0.5")
    panels[1].legend(loc="upper left", frameon=False)
    figure.suptitle(
        f"Reliability on {_count(calibration.after)} detections of the half of the parts that fitted nothing "
        f"(temperature {calibration.temperature:.2f}, bias {calibration.bias:+.2f})",
        fontsize=11,
    )
    return figure


def _panel(width: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, 6), layout="constrained")
    axes = figure.add_subplot()
    _dress(axes)
    return figure, axes


def _dress(axes: Axes) -> None:
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1))


def _reach(intervals: Sequence[Interval]) -> np.ndarray:
    """Give how far the intervals reach below and above their values, (2, N)."""
    return np.array([[max(each.value - each.low, 0), max(each.high - each.value, 0)] for each in intervals]).T


def _shown(interval: Interval) -> str:
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _count(bins: Sequence[Bin]) -> int:
    return sum(each.detections for each in bins)
