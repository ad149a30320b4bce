"""Time and memory against the size of the image, with what would be linear and quadratic drawn in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from moat_det.benchmark.cases import NONE, AttentionCase
from moat_det.benchmark.runner import Row
from moat_det.files import atomic_path

_SIZES = ("imgsz", "cells")


def plot(path: Path, rows: Sequence[Row]) -> None:
    """Draw the rows that have figures as PNG; nothing is written where none has."""
    measured = [row for row in rows if not row.error]
    if not measured:
        return
    series = _series(measured)
    figure = Figure(figsize=(12, 5 + 0.1 * len(series)), layout="constrained")
    unit = "thousand tokens" if isinstance(measured[0].case, AttentionCase) else "megapixels"
    panels = figure.subplots(1, 2)
    for axes, name, label in zip(panels, ("seconds", "growth"), ("time [s]", "peak memory [MiB]"), strict=True):
        curves = {
            title: sorted((row.case.amount, getattr(row, name)) for row in members) for title, members in series.items()
        }
        for title, points in curves.items():
            axes.plot(*zip(*points, strict=True), marker="o", label=title)
        _guides(axes, list(curves.values()))
        axes.set(xscale="log", yscale="log", xlabel=unit, ylabel=label)
        sizes = sorted({row.case.amount for row in measured})
        axes.set_xticks(sizes, [f"{size:.3g}" for size in sizes])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(which="both", alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _series(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Give the rows that differ in size alone, by what tells them from the others."""
    settings = [{name: str(value) for name, value in asdict(row.case).items() if name not in _SIZES} for row in rows]
    varied = [name for name in settings[0] if len({setting[name] for setting in settings}) > 1]
    found: dict[str, list[Row]] = {}
    for row, setting in zip(rows, settings, strict=True):
        title = ", ".join(f"{name} {setting[name]}" for name in varied if setting[name] != NONE) or "measured"
        found.setdefault(title, []).append(row)
    return found


def _guides(axes: Axes, curves: Sequence[list[tuple[float, float]]]) -> None:
    """Draw what is linear and what is quadratic, from the smallest point of the first curve on."""
    start, value = curves[0][0]
    end = max(points[-1][0] for points in curves)
    sizes = np.geomspace(start, end if end > start else 2 * start, 20)
    for power, name, style in ((1, "linear", "--"), (2, "quadratic", ":")):
        axes.plot(sizes, value * (sizes / start) ** power, style, color="gray", label=name)
