"""The page of a comparison of validations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from moat_det.evaluation.compare import HIGHER_IS_BETTER, Compared, Comparison
from moat_det.report.html import Table, render
from moat_det.report.palette import BLUE, GREEN, VERMILLION
from moat_det.report.plots import Plot, specification

_COLOURS = {"better": GREEN, "worse": VERMILLION, "not told apart": BLUE}


def compare_page(comparison: Comparison) -> str:
    """Give the page: what is better, the figures side by side, and each run's differences with their intervals."""
    first, *others = comparison.runs
    figures = [
        (_title(name), *("-" if (value := run.figures[name]) is None else f"{value:.4f}" for run in comparison.runs))
        for name in HIGHER_IS_BETTER
    ]
    thresholds = ("at", *(str(run.rule) for run in comparison.runs))
    differences = [_table(run, first, comparison.confidence) for run in others]
    return render(
        Path(__file__).with_name("compare.html"),
        title="Comparison of validations",
        first=[_sentence(run, first) for run in others],
        figures=Table(
            f"{comparison.parts} parts, {comparison.defective_parts} defective, in {comparison.images} images",
            ["figure", *(run.run for run in comparison.runs)],
            [*figures, thresholds],
        ),
        differences=differences,
        plots=[_plot(number, run, table) for number, (run, table) in enumerate(zip(others, differences, strict=True))],
        resamples=comparison.resamples,
    )


def _title(name: str) -> str:
    return name.replace("_", " ")


def _sentence(run: Compared, first: Compared) -> str:
    told = {
        verdict: [_title(name) for name, found in run.differences.items() if found and found.verdict == verdict]
        for verdict in ("better", "worse")
    }
    parts = [f"{verdict} in {', '.join(names)}" for verdict, names in told.items() if names]
    return (
        f"{run.run} is {' and '.join(parts) if parts else 'not told apart from it in any figure'}, beside {first.run}."
    )


def _table(run: Compared, first: Compared, confidence: float) -> Table:
    rows = []
    for name in HIGHER_IS_BETTER:
        found = run.differences[name]
        cells = ("-", "", "", "nothing to measure")
        if found is not None:
            cells = (f"{found.value:+.4f}", f"{found.low:+.4f}", f"{found.high:+.4f}", found.verdict)
        rows.append((_title(name), *cells))
    return Table(
        f"{run.run} less {first.run}, with {confidence:.0%} intervals",
        ["figure", "difference", "from", "to", "verdict"],
        rows,
    )


def _plot(number: int, run: Compared, table: Table) -> Plot:
    rows = [
        {"figure": _title(name), "value": found.value, "low": found.low, "high": found.high, "verdict": found.verdict}
        for name, found in run.differences.items()
        if found is not None and name != "false_alarms_per_image"  # no share: it would need an axis of its own
    ]
    tips = [
        {"field": "figure"},
        *({"field": end, "type": "quantitative", "format": "+.4f"} for end in ("value", "low", "high")),
        {"field": "verdict"},
    ]
    y = {"field": "figure", "type": "nominal", "title": None, "sort": None}
    colour = {
        "field": "verdict",
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(_COLOURS), "range": list(_COLOURS.values())},
    }
    low = {"field": "low", "type": "quantitative", "title": "difference"}
    encoding = {"y": y, "color": colour, "tooltip": tips}
    layers: list[dict[str, Any]] = [
        {"data": {"values": [{}]}, "mark": {"type": "rule", "color": "#57606a"}, "encoding": {"x": {"datum": 0}}},
        {"mark": {"type": "rule", "size": 3}, "encoding": {**encoding, "x": low, "x2": {"field": "high"}}},
        {
            "mark": {"type": "point", "filled": True, "size": 90},
            "encoding": {**encoding, "x": {"field": "value", "type": "quantitative"}},
        },
    ]
    description = f"{table.caption}: the difference of each rate; an interval that leaves out 0 is told apart."
    return Plot(f"difference{number}", "Differences with intervals", description, specification(layers, rows), table)
