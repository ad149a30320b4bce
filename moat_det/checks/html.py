"""The result of a check as one HTML file that needs no other."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moat_det.checks.faults import KINDS, Fault, Severity
from moat_det.checks.fingerprint import scale_to
from moat_det.checks.plots import overview_png
from moat_det.checks.recommend import command
from moat_det.checks.report import printable, summary_rows
from moat_det.checks.run import Check
from moat_det.checks.samples import Sample
from moat_det.data.images.intensity import Intensity
from moat_det.data.images.shown import read_rgb
from moat_det.progress import progress
from moat_det.report.html import Table, jpeg_uri, png_uri, render
from moat_det.report.palette import BOX_COLOURS
from moat_det.report.pictures import draw_boxes

_PICTURES = 6  # of each kind of fault
_LINES = 50
_FIRST = 5  # kinds of faults above all
_SIDE = 260  # pixels
_CLOSE = 24  # pixels: what is smaller on a picture is shown from near too
_SAME = 0.5  # pixels: a marked box is one of the labels, and has its class
_THICK = 3
_VERDICTS = {
    Severity.ERROR: "Training stops at the errors, or learns contradictions. Mend these, the worst first:",
    Severity.WARNING: "Training goes on, but the result may not be what is meant. Look at these:",
    Severity.NOTE: "Nothing has to be mended.",
}


@dataclass(frozen=True)
class _Section:
    """What the page says of a kind of fault; a figure is pictures within the page, and its caption."""

    level: str
    title: str
    advice: str
    count: int
    figures: list[tuple[list[str], str]]
    lines: list[str]


def html_report(check: Check) -> str:
    """Give the page: what to do first, tables, of every kind of fault some pictures with the boxes drawn, and plots."""
    root = f"{check.data['path']}{os.sep}"
    owners: dict[str, list[Sample]] = {}
    for sample in (sample for samples in check.samples.values() for sample in samples):
        owners.setdefault(sample.image, []).append(sample)
    kinds = check.by_kind()
    sections = [
        _section(kind, faults, owners, check.data["channels"], root)
        for kind, faults in progress(kinds.items(), "Drawing", unit="kind")
    ]
    names = check.data["names"].items()
    counts = check.counts.values()
    todo = [f"{each.title} ({each.count}): {each.advice}" for each in sections if each.level != "note"]
    page = render(
        Path(__file__).with_name("page.html"),
        title=f"Check of {Path(check.data['yaml_file']).name}",
        verdict=_VERDICTS[check.severity],
        todo=todo[:_FIRST],
        more=len(todo[_FIRST:]),
        mend=_mend(check),
        recommendations=check.recommendations,
        command=command(check.data, check.recommendations),
        root=check.data["path"],
        splits=Table(
            "Images and boxes of each split",
            ["split", "images", "unreadable", "with boxes", "good parts", "boxes"],
            summary_rows(check),
        ),
        classes=Table(
            "Boxes of each class",
            ["class", *check.counts],
            [(name, *(of[cls] for of in counts)) for cls, name in names],
        ),
        legend=[(name, BOX_COLOURS[cls % len(BOX_COLOURS)]) for cls, name in names],
        sections=sections,
        overview=png_uri(overview_png(check)),
    )
    return printable(page)


def _section(kind: str, faults: list[Fault], owners: Mapping[str, list[Sample]], channels: int, root: str) -> _Section:
    shown = [fault for fault in faults if fault.image]
    figures = []
    for fault in shown[:: max(1, len(shown) // _PICTURES)][:_PICTURES]:
        paths = [path for path in (fault.image, fault.other) if path]
        if pictures := [picture for path in paths for picture in _draw(fault, path, owners.get(path, []), channels)]:
            figures.append(([jpeg_uri(picture) for picture in pictures], _caption(fault, root)))
    lines = [_caption(fault, root) for fault in faults[:_LINES]]
    about = KINDS[kind]
    return _Section(about.severity.name.lower(), about.title, about.advice, len(faults), figures, lines)


def _mend(check: Check) -> str | None:
    """Give the command that writes a corrected copy, where there is something to correct."""
    if check.severity == Severity.NOTE:
        return None
    return shlex.join(["moat", "check", "--data", check.data["yaml_file"], "--fix", "corrected"])


def _caption(fault: Fault, root: str) -> str:
    return f"{fault.split}: {fault.place}".replace(root, "")


def _draw(fault: Fault, path: str, samples: Sequence[Sample], channels: int) -> list[np.ndarray]:
    """Draw a small picture of an image with all its boxes, those at fault marked, and one from near of small ones.

    Nothing where the image cannot be read.
    """
    try:
        image = read_rgb(path, Intensity("image"), channels)
    except OSError:
        return []
    others = np.concatenate([np.zeros((0, 4)), *(sample.boxes for sample in samples)])
    classes = [row.cls for sample in samples if sample.readable for row in sample.annotation.rows]
    marked = np.array(fault.boxes if path == fault.image else ()).reshape(-1, 4)
    height, width = image.shape[:2]
    pictures = [_picture(image, others, classes, marked)]
    if len(marked) and (size := (marked[:, 2:] - marked[:, :2]).max()) * _SIDE < _CLOSE * max(height, width):
        reach = max(32, round(3 * size))
        x, y = (int(np.clip(value, 0, side - 1)) for value, side in zip(marked[0, :2], (width, height), strict=True))
        left, top = max(0, x - reach), max(0, y - reach)
        near = image[top : y + reach, left : x + reach]
        pictures.append(_picture(near, others - [left, top] * 2, classes, marked - [left, top] * 2))
    return pictures


def _picture(image: np.ndarray, others: np.ndarray, classes: Sequence[int], marked: np.ndarray) -> np.ndarray:
    """Draw an image at the report's size, with boxes of some classes, (N, 4) xyxy in its pixels."""
    picture = scale_to(np.ascontiguousarray(image), _SIDE)
    scale = _SIDE / max(image.shape[:2])
    near = np.abs(marked[:, None] - others).max(axis=2) if len(others) else np.full((len(marked), 1), np.inf)
    own = [classes[int(row.argmin())] if row.min() < _SAME else 0 for row in near]
    for boxes, colours, thickness in ((others, classes, 1), (marked, own, _THICK)):
        # Of a box that is a mistake, coordinates may lie where no drawing reaches.
        placed = np.clip(boxes * scale, -4 * _SIDE, 4 * _SIDE).round()
        picture = draw_boxes(picture, placed, [""] * len(boxes), colours, thickness)
    return picture
