"""New parts against those of the validation as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from moat_det.evaluation.drift.sample import MEASURES
from moat_det.evaluation.plots import save_figure
from moat_det.report.palette import BLUE, VERMILLION


def plot_drift(
    path: Path, content: Mapping[str, Any], reference: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray]
) -> None:
    """Draw the cumulative curves of each measure, whose largest gap is its distance.

    Args:
        path: The picture to write, atomically; its suffix says the format.
        content: From `drift`.
        reference: The sample of the validation.
        new: That of the new parts.
    """
    measures = content["measures"]
    figure = Figure(figsize=(5 * min(2, len(measures)), 3.4 * -(-len(measures) // 2)), layout="constrained")
    for place, (name, found) in enumerate(measures.items(), 1):
        axes = figure.add_subplot(-(-len(measures) // 2), min(2, len(measures)), place)
        for label, values, colour in (("validation", reference[name], BLUE), ("new", new[name], VERMILLION)):
            axes.ecdf(values, color=colour, label=label, linewidth=1.6)
        verdict = "changed" if found["changed"] else "not changed"
        axes.set_title(f"{name}: {verdict}, distance {found['distance']:.2f}, p {found['p']:.2g}", fontsize=10)
        axes.set(xlabel=MEASURES[name], ylabel="share of the parts", ylim=(0, 1.02))
        axes.grid(color="0.93")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        if place == 1:
            axes.legend(frameon=False, loc="lower right")
    save_figure(figure, path)
