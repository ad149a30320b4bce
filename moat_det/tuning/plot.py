"""The picture of a search: what each trial reached, and which of the settings matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from moat_det.files import atomic_path
from moat_det.tuning.study import Tried


def plot(path: Path, tried: Sequence[Tried], default: Tried | None, importances: Mapping[str, float]) -> None:
    """Draw the history and the importance of the settings as PNG.

    Args:
        path: The file.
        tried: All trials.
        default: The one with the default settings; None where it has not been trained.
        importances: Share of the trials' differences that each setting explains; empty of too few trials.
    """
    figure = Figure(figsize=(12, 5), layout="constrained")
    history, shares = figure.subplots(1, 2)
    _draw_history(history, [each for each in tried if each.ap is not None], default)
    names = sorted(importances, key=lambda name: importances[name])
    shares.barh(names, [importances[name] for name in names])
    shares.set(xlabel="share of the trials' differences", title="importance (functional ANOVA)", xlim=(0, 1))
    if not names:
        shares.text(0.5, 0.5, "too few trials", ha="center", va="center", transform=shares.transAxes)
        shares.set_yticks([])
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _draw_history(axes: Axes, tried: Sequence[Tried], default: Tried | None) -> None:
    for state, marker in (("trained", "o"), ("pruned", "x"), ("cut", "+")):
        mine = [(each.number, each.ap) for each in tried if each.state == state]
        if mine:
            axes.plot(*zip(*mine, strict=True), marker=marker, linestyle="", label=state)
    trained = [(each.number, each.ap or 0.0) for each in tried if each.state == "trained"]
    if trained:
        best = list(accumulate((ap for _, ap in trained), max))
        axes.step([number for number, _ in trained], best, where="post", label="best so far")
        if default is not None:
            axes.axhline(default.ap or 0.0, color="gray", linestyle=":", label="default")
        axes.legend()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="trial", ylabel="AP on the part that judges", title="history")
    axes.grid(alpha=0.3)
