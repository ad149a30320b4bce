"""AP against the time of an image: which model is worth its time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from moat_det.benchmark.accuracy.report import Entry
from moat_det.files import atomic_path

_SIDE = 5.0  # inches of a panel


def plot(path: Path, entries: Sequence[Entry]) -> None:
    """Draw a panel for each set as PNG: a point for the mean of a model's seeds, a small one for each of them.

    Nothing is drawn of a model without AP or time, and no file where nothing is.
    """
    drawn = [entry for entry in entries if entry.values("AP") and entry.cost and entry.cost.seconds]
    if not drawn:
        return
    sets = list(dict.fromkeys(entry.set for entry in drawn))
    models = list(dict.fromkeys(entry.model for entry in drawn))
    colours = {model: f"C{number % 10}" for number, model in enumerate(models)}
    figure = Figure(figsize=(_SIDE * 1.3 * len(sets), _SIDE), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
        for entry in (entry for entry in drawn if entry.set == name):
            _draw(axes, entry, colours[entry.model])
        busy = any(entry.cost and entry.cost.busy for entry in drawn if entry.set == name)
        axes.set(
            xscale="log",
            xlabel=f"time of an image [ms]{', on a busy machine' if busy else ''}",
            ylabel="AP",
            title=name,
        )
        times = [1e3 * entry.cost.seconds for entry in drawn if entry.set == name and entry.cost and entry.cost.seconds]
        axes.set_xlim(min(times) / 1.5, max(times) * 2.5)  # with room for the name beside the last point
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(y=0.15)
        axes.grid(which="both", alpha=0.3)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _draw(axes: Axes, entry: Entry, colour: str) -> None:
    assert entry.cost is not None
    assert entry.cost.seconds is not None
    milliseconds, values = 1e3 * entry.cost.seconds, entry.values("AP")
    marker = "o" if entry.tiles is None else "s"
    axes.plot([milliseconds] * 2, [min(values), max(values)], color=colour, linewidth=1)
    axes.plot([milliseconds] * len(values), values, marker="_", linestyle="", color=colour)
    axes.plot(milliseconds, mean(values), marker=marker, linestyle="", color=colour)
    label = entry.model if entry.tiles is None else f"{entry.model}, {entry.tested}"
    axes.annotate(label, (milliseconds, mean(values)), xytext=(8, 0), textcoords="offset points", va="center")
