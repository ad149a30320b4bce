"""The result of a check as one HTML file that needs no other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

import cv2
import numpy as np

from moat_det.checks.faults import KINDS, Fault
from moat_det.checks.fingerprint import scale_to
from moat_det.checks.plots import overview_png
from moat_det.checks.recommend import command
from moat_det.checks.report import printable, summary_rows
from moat_det.checks.run import Check
from moat_det.checks.samples import Sample
from moat_det.data.images.header import large_images
from moat_det.data.images.intensity import Intensity
from moat_det.data.images.read import read_input
from moat_det.progress import progress
from moat_det.report import html
from moat_det.report.palette import BOX_COLOURS, VERMILLION, YELLOW
from moat_det.report.pictures import draw_boxes

_PICTURES = 6  # of each kind of fault
_LINES = 50
_SIDE = 260  # pixels
_CLOSE = 24  # pixels: what is smaller on a picture is shown from near too
_MARKED, _OTHERS = BOX_COLOURS.index(VERMILLION), BOX_COLOURS.index(YELLOW)


def html_report(check: Check) -> str:
    """Give the page: tables, plots, and of every kind of fault some pictures with the boxes drawn."""
    return printable(html.page(check.data["yaml_file"], _parts(check)))


def _parts(check: Check) -> Iterator[str]:
    yield html.table(["split", "images", "unreadable", "with boxes", "good parts", "boxes"], summary_rows(check))
    counts = check.counts.values()
    names = check.data["names"].items()
    yield html.table(["class", *check.counts], [(name, *(found[cls] for found in counts)) for cls, name in names])
    yield "<h2>Found</h2>"
    kinds = check.by_kind()
    owners: dict[str, list[Sample]] = {}
    for sample in (sample for samples in check.samples.values() for sample in samples):
        owners.setdefault(sample.image, []).append(sample)
    if not kinds:
        yield "<p>Nothing.</p>"
    for kind, faults in progress(kinds.items(), "Drawing", unit="kind"):
        yield from _section(kind, faults, owners, check.data["channels"])
    yield "<h2>Recommended</h2><ul>"
    for item in check.recommendations:
        yield f"<li><b>{escape(item.topic)}</b>: {escape(item.advice)}. {escape(item.reason)}"
    yield f"</ul><pre>{escape(command(check.data, check.recommendations))}</pre>"
    yield f"<h2>The data</h2>{html.plot(overview_png(check))}"


def _section(kind: str, faults: list[Fault], owners: Mapping[str, list[Sample]], channels: int) -> Iterator[str]:
    level = KINDS[kind].severity.name.lower()
    yield f'<section class="{level}"><h3>{level}: {escape(KINDS[kind].title)} ({len(faults)})</h3>'
    yield f"<p>{escape(KINDS[kind].advice)}</p>"
    shown = [fault for fault in faults if fault.image]
    for fault in shown[:: max(1, len(shown) // _PICTURES)][:_PICTURES]:
        paths = [path for path in (fault.image, fault.other) if path]
        if pictures := [picture for path in paths for picture in _draw(fault, path, owners.get(path, []), channels)]:
            yield html.figure(pictures, f"{fault.split}: {fault.place}")
    yield f"<details><summary>{min(len(faults), _LINES)} of {len(faults)}</summary>"
    yield html.bullets(f"{fault.split}: {fault.place}" for fault in faults[:_LINES])
    yield "</details></section>"


def _draw(fault: Fault, path: str, samples: Sequence[Sample], channels: int) -> list[np.ndarray]:
    """Draw a small picture of an image with all its boxes, those at fault marked, and one from near of small ones.

    Nothing where the image cannot be read.
    """
    try:
        with large_images():
            image = read_input(path, Intensity("image"), channels)
    except OSError:
        return []
    colour = image.shape[2] == 3
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if colour else np.repeat(image[..., :1], 3, axis=2)
    others = np.concatenate([np.zeros((0, 4)), *(sample.boxes for sample in samples)])
    marked = np.array(fault.boxes if path == fault.image else ()).reshape(-1, 4)
    height, width = image.shape[:2]
    pictures = [_picture(image, others, marked)]
    if len(marked) and (size := (marked[:, 2:] - marked[:, :2]).max()) * _SIDE < _CLOSE * max(height, width):
        reach = max(32, round(3 * size))
        x, y = (int(np.clip(value, 0, side - 1)) for value, side in zip(marked[0, :2], (width, height), strict=True))
        left, top = max(0, x - reach), max(0, y - reach)
        near = image[top : y + reach, left : x + reach]
        pictures.append(_picture(near, others - [left, top] * 2, marked - [left, top] * 2))
    return pictures


def _picture(image: np.ndarray, others: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """Draw an image at the report's size, with boxes, (N, 4) xyxy in its pixels."""
    picture = scale_to(np.ascontiguousarray(image), _SIDE)
    # Of a box that is a mistake, coordinates may lie where no drawing reaches.
    boxes = np.clip(np.concatenate([others, marked]) * (_SIDE / max(image.shape[:2])), -4 * _SIDE, 4 * _SIDE)
    classes = [_OTHERS] * len(others) + [_MARKED] * len(marked)
    return draw_boxes(picture, boxes.round(), [""] * len(boxes), classes)
