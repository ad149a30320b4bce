"""The agreement of raters as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from moat_det.evaluation.agreement.measure import GOOD, POOR
from moat_det.evaluation.plots import save_figure
from moat_det.report.palette import BLUE


def plot_agreement(path: Path, content: dict[str, Any]) -> None:
    """Draw each rater's figures with their intervals, a row each.

    Args:
        path: The picture to write, atomically; its suffix says the format.
        content: From `agreement`.
    """
    raters = content["raters"]
    keys = {"rejected": "rejects", "within": "agrees with itself"}
    if content["reference"] is not None:
        same = {name: name for name in ("kappa", "escape", "overkill")}
        keys = {"against_reference": "agrees with the reference", **same}
    figure = Figure(figsize=(3 * len(keys) + 1.5, 1.3 + 0.4 * len(raters)), layout="constrained")
    panels = figure.subplots(1, len(keys), sharey=True, squeeze=False)[0]
    for axes, (key, title) in zip(panels, keys.items(), strict=True):
        for row, figures in enumerate(raters.values()):
            if (found := figures.get(key)) is None:
                continue
            reach = [[found["value"] - found["low"]], [found["high"] - found["value"]]]
            axes.errorbar(found["value"], row, xerr=reach, fmt="o", color=BLUE, capsize=3)
        axes.set(title=title, ylim=(len(raters) - 0.5, -0.5))
        if key == "kappa":
            axes.set_xlim(min(0, axes.get_xlim()[0]), 1.02)
            for limit in (POOR, GOOD):
                axes.axvline(limit, color="0.8", linewidth=0.8, zorder=0)
        elif key in {"escape", "overkill"}:
            axes.set_xlim(-0.01, max(axes.get_xlim()[1], 0.1))
        else:
            axes.set_xlim(min(axes.get_xlim()[0], 0.5), 1.02)
        axes.grid(axis="x", color="0.93")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(raters)), list(raters))
    save_figure(figure, path, panels[0].get_yticklabels())
