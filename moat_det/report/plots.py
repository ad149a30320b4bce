"""Plots of a page: Vega-Lite's specifications, drawn in the browser by the Vega that vl-convert brings along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from moat_det.report.palette import LINE_COLOURS

if TYPE_CHECKING:
    from moat_det.report.html import Table

_VEGA_LITE = "6.4"
_CONFIG = {
    "font": "system-ui, sans-serif",
    "axis": {"labelFontSize": 12, "titleFontSize": 12, "gridColor": "#e4e8ec", "labelColor": "#1b1f24", "tickCount": 6},
    "legend": {"labelFontSize": 12, "titleFontSize": 12, "orient": "bottom", "columns": 1, "labelLimit": 300},
    "view": {"stroke": None},
    "range": {"category": list(LINE_COLOURS)},
}


@dataclass(frozen=True)
class Plot:
    """A plot of a page, and its values for those who cannot see it.

    Attributes:
        name: Of its element, unique on the page.
        title: Plain text.
        description: What it shows, in a sentence.
        spec: For Vega-Lite.
        table: Its values.
    """

    name: str
    title: str
    description: str
    spec: Mapping[str, Any]
    table: Table


def specification(
    layers: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], **more: Any
) -> dict[str, Any]:
    """Give a specification as wide as its place: layers over rows of data."""
    return {
        "$schema": f"https://vega.github.io/schema/vega-lite/v{_VEGA_LITE}.json",
        "width": "container",
        "height": 260,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "config": _CONFIG,
        "data": {"values": list(rows)},
        "layer": list(layers),
        **more,
    }


def under_pointer(x: str, tooltip: Sequence[Mapping[str, Any]], **encoding: Any) -> dict[str, Any]:
    """Give a layer of points of which the one next to the pointer shows, with its values.

    Args:
        x: The field along the axis.
        tooltip: The channels that are shown.
        encoding: Of the points.
    """
    return {
        "params": [
            {"name": "near", "select": {"type": "point", "on": "pointerover", "nearest": True, "clear": "pointerout"}}
        ],
        "mark": {"type": "point", "filled": True, "size": 70},
        "encoding": {
            "x": {"field": x, "type": "quantitative"},
            "tooltip": list(tooltip),
            "opacity": {"condition": {"param": "near", "empty": False, "value": 1}, "value": 0},
            **encoding,
        },
    }


@cache
def vega() -> str:
    """Give the script that draws: Vega, Vega-Lite and their embedding, 0.9 MB."""
    from vl_convert import javascript_bundle  # takes memory, and pages without plots need none of it

    return str(javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=_VEGA_LITE))
