"""The plots of a validation's report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from moat_det.evaluation.inspection.box_matches import ClassMatches
from moat_det.evaluation.inspection.parts import Parts
from moat_det.report.html import Table
from moat_det.report.palette import BLUE, GREEN, VERMILLION
from moat_det.report.plots import Plot, specification, under_pointer

_POINTS = 200  # of a curve
_ROWS = 21  # of the table beside it
_SHARE = {"type": "quantitative", "axis": {"format": "%"}, "scale": {"domain": [0, 1]}}


def plots(
    inspection: Mapping[str, Any], parts: Parts, matches: Sequence[ClassMatches], names: Mapping[int, str]
) -> Iterator[Plot]:
    """Give the plots for which there is something to draw.

    Args:
        inspection: The content of `inspection.json`.
        parts: Of the same validation.
        matches: Of its boxes at IoU 0.5.
        names: Category id to name.
    """
    yield _score_plot(parts)
    if inspection["roc"]:
        yield _roc_plot(inspection["roc"])
    if inspection["froc"]:
        yield _froc_plot(inspection["froc"])
    if rows := [row for each in matches for row in _precision_recall(each, names[each.category_id])]:
        yield _precision_plot(rows)
    if inspection["calibration"]:
        yield _reliability_plot(inspection["calibration"])


def _score_plot(parts: Parts) -> Plot:
    kinds = {
        "escape: defective parts below": np.sort(parts.scores[parts.defective]),
        "overkill: good parts from there on": np.sort(parts.scores[~parts.defective]),
    }
    grid = np.linspace(0, 1, _POINTS + 1)
    rows = []
    for number, (kind, scores) in enumerate(kinds.items()):
        if len(scores):
            below = np.searchsorted(scores, grid) / len(scores)
            shares = 1 - below if number else below
            rows += [
                {"threshold": round(float(at), 4), "share": float(share), "rate": kind}
                for at, share in zip(grid, shares, strict=True)
            ]
    x = {"field": "threshold", "type": "quantitative", "title": "threshold", "scale": {"domain": [0, 1]}}
    y = {"field": "share", "title": "share of the parts", **_SHARE}
    colour = {
        "field": "rate",
        "type": "nominal",
        "title": None,
        "scale": {
            "domain": [kind for kind, scores in kinds.items() if len(scores)],
            "range": [colour for colour, scores in zip((VERMILLION, BLUE), kinds.values(), strict=True) if len(scores)],
        },
    }
    tips = [
        {"field": "rate", "title": "rate"},
        {"field": "threshold", "format": ".3f"},
        {"field": "share", "format": ".1%"},
    ]

    def handle(name: str, dashes: Sequence[int]) -> dict[str, Any]:
        return {
            "data": {"values": [{}]},
            "mark": {"type": "rule", "size": 2, "strokeDash": list(dashes), "color": "#1b1f24"},
            "encoding": {"x": {"datum": {"expr": name}, "type": "quantitative"}},
        }

    spec = specification(
        [
            {"mark": {"type": "line", "interpolate": "step-after"}, "encoding": {"x": x, "y": y, "color": colour}},
            under_pointer("threshold", tips, y=y, color=colour),
            handle("reject", [1, 0]),
            handle("review", [5, 4]),
        ],
        rows,
        params=[{"name": "reject", "value": 0}, {"name": "review", "value": 0}],
    )
    columns = {kind: scores for kind, scores in kinds.items() if len(scores)}
    table = [
        (f"{at:.2f}", *(_percent(_rate(scores, at, kind.startswith("overkill"))) for kind, scores in columns.items()))
        for at in np.linspace(0, 1, _ROWS)
    ]
    return Plot(
        "scores",
        "Escape and overkill by threshold",
        "Defective parts that score below a threshold, and good parts that score at least as high. The full line is "
        "the threshold to reject, the dashed one that to review.",
        spec,
        Table("Escape and overkill by threshold", ["threshold", *columns], table),
    )


def _rate(scores: np.ndarray, at: float, above: bool) -> float:
    below = float((scores < at).mean())
    return 1 - below if above else below


def _roc_plot(curve: Sequence[Mapping[str, Any]]) -> Plot:
    x = {"field": "overkill", "title": "overkill: good parts rejected", **_SHARE}
    y = {"field": "escape", "title": "escape: defective parts passed", **_SHARE}
    tips = [
        {"field": "threshold", "type": "quantitative", "format": ".3f"},
        {"field": "escape", "type": "quantitative", "format": ".2%"},
        {"field": "overkill", "type": "quantitative", "format": ".2%"},
    ]
    line = {"mark": {"type": "line", "color": BLUE}, "encoding": {"x": x, "y": y, "order": {"field": "overkill"}}}
    rows = [
        ("none" if row["threshold"] is None else f"{row['threshold']:.3f}", *map(_percent, _rates(row)))
        for row in _thinned(curve)
    ]
    return Plot(
        "roc",
        "Escape against overkill",
        "What fewer escapes cost in good parts; the nearer to the lower left corner, the better.",
        specification([line, under_pointer("overkill", tips, y=y)], curve),
        Table("Escape and overkill at some thresholds", ["threshold", "escape", "overkill"], rows),
    )


def _rates(row: Mapping[str, Any]) -> tuple[float, float]:
    return row["escape"], row["overkill"]


def _froc_plot(points: Sequence[Mapping[str, Any]]) -> Plot:
    x = {
        "field": "false_alarms_per_image",
        "type": "quantitative",
        "title": "false alarms per image, at most",
        "scale": {"type": "log"},
    }
    y = {"field": "recall", "title": "boxes found", **_SHARE}
    band = {
        "mark": {"type": "area", "opacity": 0.2, "color": GREEN},
        "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
    }
    line = {"mark": {"type": "line", "point": True, "color": GREEN}, "encoding": {"x": x, "y": y}}
    tips = [
        {"field": "false_alarms_per_image", "title": "false alarms per image"},
        *({"field": name, "type": "quantitative", "format": ".1%"} for name in ("recall", "low", "high")),
        {"field": "threshold", "type": "quantitative", "format": ".3f"},
    ]
    near = under_pointer("false_alarms_per_image", tips, y=y, color={"value": GREEN})
    near["encoding"]["x"] = x
    rows = [
        (
            p["false_alarms_per_image"],
            *(_percent(p[name]) for name in ("recall", "low", "high")),
            f"{p['threshold']:.3f}",
        )
        for p in points
    ]
    return Plot(
        "froc",
        "Boxes found against false alarms (FROC)",
        "The share of the boxes that is found where so many false alarms per image are allowed; the band is the "
        "interval.",
        specification([band, line, near], points),
        Table(
            "Recall of boxes by false alarms per image",
            ["false alarms per image", "recall", "from", "to", "threshold"],
            rows,
        ),
    )


def _precision_recall(of_class: ClassMatches, name: str) -> list[dict[str, Any]]:
    right, wrong = of_class.right[0].cumsum(), of_class.wrong[0].cumsum()
    rises = np.flatnonzero(of_class.right[0])
    if not len(rises):
        return []
    chosen = rises[np.unique(np.linspace(0, len(rises) - 1, min(len(rises), _POINTS)).round().astype(int))]
    return [
        {
            "class": name,
            "recall": float(right[k] / len(of_class.objects)),
            "precision": float(right[k] / (right[k] + wrong[k])),
            "threshold": float(of_class.scores[k]),
        }
        for k in chosen
    ]


def _precision_plot(rows: Sequence[Mapping[str, Any]]) -> Plot:
    x = {"field": "recall", "title": "recall: boxes found", **_SHARE}
    y = {"field": "precision", "title": "precision: detections right", **_SHARE}
    colour = {"field": "class", "type": "nominal", "title": None}
    tips = [
        {"field": "class"},
        *({"field": name, "type": "quantitative", "format": ".1%"} for name in ("recall", "precision")),
        {"field": "threshold", "type": "quantitative", "format": ".3f"},
    ]
    line = {"mark": "line", "encoding": {"x": x, "y": y, "color": colour, "order": {"field": "recall"}}}
    names = list(dict.fromkeys(row["class"] for row in rows))
    table = []
    for name in names:
        own = [row for row in rows if row["class"] == name]
        for least in (0.25, 0.5, 0.75, 0.9):
            if reached := next((row for row in own if row["recall"] >= least), None):
                cells = (_percent(reached["recall"]), _percent(reached["precision"]), f"{reached['threshold']:.3f}")
                table.append((name, *cells))
    return Plot(
        "precision",
        "Precision against recall",
        "Of each class, at IoU 0.5: how many detections are right where so many boxes are found.",
        specification([line, under_pointer("recall", tips, y=y, color=colour)], rows),
        Table(
            "Precision where recall reaches 25, 50, 75 and 90 %", ["class", "recall", "precision", "threshold"], table
        ),
    )


def _reliability_plot(calibration: Mapping[str, Any]) -> Plot:
    kinds = {"scores as they are": calibration["bins"], "calibrated": calibration["bins_after"]}
    rows = [{"scores": kind, **row} for kind, bins in kinds.items() for row in bins]
    x = {"field": "probability", "title": "what the score says", **_SHARE}
    y = {"field": "value", "title": "detections that are right", **_SHARE}
    colour = {"field": "scores", "type": "nominal", "title": None, "scale": {"domain": list(kinds)}}
    diagonal = {
        "data": {"values": [{"at": 0}, {"at": 1}]},
        "mark": {"type": "line", "strokeDash": [4, 4], "color": "#57606a"},
        "encoding": {"x": {"field": "at", "type": "quantitative"}, "y": {"field": "at", "type": "quantitative"}},
    }
    bars = {
        "mark": {"type": "rule", "opacity": 0.6},
        "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": colour},
    }
    line = {"mark": {"type": "line", "point": True}, "encoding": {"x": x, "y": y, "color": colour}}
    tips = [
        {"field": "scores"},
        {"field": "probability", "type": "quantitative", "format": ".1%", "title": "says"},
        {"field": "value", "type": "quantitative", "format": ".1%", "title": "right"},
        {"field": "detections", "type": "quantitative"},
    ]
    table = [
        (
            kind,
            row["detections"],
            _percent(row["probability"]),
            *(_percent(row[name]) for name in ("value", "low", "high")),
        )
        for kind, bins in kinds.items()
        for row in bins
    ]
    return Plot(
        "reliability",
        "Reliability of the scores",
        "How often detections of some score are right; on the dashed line a score is a probability. Mean distance "
        f"(ECE) {_percent(calibration['ece_before'])}, calibrated {_percent(calibration['ece_after'])}.",
        specification([diagonal, bars, line, under_pointer("probability", tips, y=y, color=colour)], rows),
        Table(
            "Share of right detections by score",
            ["scores", "detections", "say", "right", "from", "to"],
            table,
        ),
    )


def _thinned(rows: Sequence[Any]) -> list[Any]:
    return [rows[k] for k in np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _ROWS)).round().astype(int))]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
