"""The result of a check as one HTML file that needs no other."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape

import cv2
import numpy as np
from tqdm import tqdm

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

_PICTURES = 6  # of each kind of fault
_LINES = 50
_SIDE = 260  # pixels
_CLOSE = 24  # pixels: what is smaller on a picture is shown from near too
_MARKED, _OTHERS = (40, 40, 230), (0, 210, 255)  # BGR

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1200px; padding: 0 1em }
body { color: #222; background: #fff }
table { border-collapse: collapse; margin: 1em 0 }
td, th { padding: .2em .8em; text-align: right; border-bottom: 1px solid #ddd; overflow-wrap: anywhere }
td:first-child, th:first-child { text-align: left } h1 { overflow-wrap: anywhere }
section { margin: 1.5em 0; padding: .3em 1em; border-left: 6px solid #999; background: #f7f7f7 }
section.error { border-color: #c0392b } section.warning { border-color: #e08e0b }
figure { display: inline-block; margin: .4em; max-width: 540px; vertical-align: top }
figcaption { font-size: 12px; overflow-wrap: anywhere; max-width: 540px }
pre { background: #eee; padding: .8em; overflow-x: auto } li { overflow-wrap: anywhere } img.plot { max-width: 100% }
"""


def html_report(check: Check) -> str:
    """Give the page: tables, plots, and of every kind of fault some pictures with the boxes drawn."""
    return printable("\n".join(_page(check)))


def _page(check: Check) -> Iterator[str]:
    title = escape(check.data["yaml_file"])
    yield f"<!DOCTYPE html><html lang=en><head><meta charset=utf-8><title>{title}</title><style>{_STYLE}</style></head>"
    yield f"<body><h1>{title}</h1>"
    yield "<table><tr><th>split<th>images<th>unreadable<th>with boxes<th>good parts<th>boxes</tr>"
    for row in summary_rows(check):
        yield "<tr>" + "".join(f"<td>{cell}" for cell in row) + "</tr>"
    yield "</table><table><tr><th>class" + "".join(f"<th>{split}" for split in check.counts) + "</tr>"
    for cls, name in check.data["names"].items():
        yield f"<tr><td>{escape(name)}" + "".join(f"<td>{found[cls]}" for found in check.counts.values()) + "</tr>"
    yield "</table><h2>Found</h2>"
    kinds = check.by_kind()
    owners: dict[str, list[Sample]] = {}
    for sample in (sample for samples in check.samples.values() for sample in samples):
        owners.setdefault(sample.image, []).append(sample)
    if not kinds:
        yield "<p>Nothing.</p>"
    for kind, faults in tqdm(kinds.items(), "Drawing", unit="kind", disable=None):
        yield from _section(kind, faults, owners, check.data["channels"])
    yield "<h2>Recommended</h2><ul>"
    for item in check.recommendations:
        yield f"<li><b>{escape(item.topic)}</b>: {escape(item.advice)}. {escape(item.reason)}"
    yield f"</ul><pre>{escape(command(check.data, check.recommendations))}</pre>"
    yield f'<h2>The data</h2><img class=plot src="{_uri("png", overview_png(check))}"></body></html>'


def _section(kind: str, faults: list[Fault], owners: Mapping[str, list[Sample]], channels: int) -> Iterator[str]:
    level = KINDS[kind].severity.name.lower()
    yield f'<section class="{level}"><h3>{level}: {escape(KINDS[kind].title)} ({len(faults)})</h3>'
    yield f"<p>{escape(KINDS[kind].advice)}</p>"
    shown = [fault for fault in faults if fault.image]
    for fault in shown[:: max(1, len(shown) // _PICTURES)][:_PICTURES]:
        paths = [path for path in (fault.image, fault.other) if path]
        pictures = [picture for path in paths for picture in _draw(fault, path, owners.get(path, []), channels)]
        images = "".join(f'<img alt="" src="{_uri("jpeg", picture)}"> ' for picture in pictures)
        if images:
            yield f"<figure>{images}<figcaption>{_line(fault)}</figcaption></figure>"
    yield f"<details><summary>{min(len(faults), _LINES)} of {len(faults)}</summary><ul>"
    yield from (f"<li>{_line(fault)}" for fault in faults[:_LINES])
    yield "</ul></details></section>"


def _line(fault: Fault) -> str:
    return escape(f"{fault.split}: {fault.file}" + (f": {fault.detail}" if fault.detail else ""))


def _draw(fault: Fault, path: str, samples: Sequence[Sample], channels: int) -> list[bytes]:
    """A small JPEG of an image with all its boxes, those at fault in red; and one from near where these are small.

    Nothing where the image cannot be read.
    """
    try:
        with large_images():
            image = read_input(path, Intensity("image"), channels)
    except OSError:
        return []
    image = image if image.shape[2] == 3 else np.repeat(image[..., :1], 3, axis=2)
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


def _picture(image: np.ndarray, others: np.ndarray, marked: np.ndarray) -> bytes:
    """An image at the report's size as a JPEG, with boxes, (N, 4) xyxy in its pixels."""
    picture = scale_to(np.ascontiguousarray(image), _SIDE)
    scale = _SIDE / max(image.shape[:2])
    for boxes, colour in ((others, _OTHERS), (marked, _MARKED)):
        # OpenCV draws no coordinates beyond 16 bits.
        for x1, y1, x2, y2 in np.clip(boxes * scale, -4 * _SIDE, 4 * _SIDE).round().astype(int).tolist():
            cv2.rectangle(picture, (x1, y1), (x2, y2), colour, 1)
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])[1])


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
