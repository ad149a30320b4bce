"""Parts of an HTML page that needs no other file: its style, tables, and pictures within it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

import cv2
import numpy as np

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


def page(title: str, parts: Iterable[str]) -> str:
    """Give a page with its title as the heading.

    Args:
        title: Plain text.
        parts: The body, as HTML.
    """
    head = f"<meta charset=utf-8><title>{escape(title)}</title><style>{_STYLE}</style>"
    body = "\n".join([f"<h1>{escape(title)}</h1>", *parts])
    return f"<!DOCTYPE html><html lang=en><head>{head}</head>\n<body>{body}</body></html>"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Give a table; the first column is aligned left, the others right, as numbers are."""
    lines = ["".join(f"<th>{escape(cell)}" for cell in header)]
    lines += ["".join(f"<td>{escape(str(cell))}" for cell in row) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def bullets(items: Iterable[str]) -> str:
    """Give a list of lines, each plain text."""
    return "<ul>" + "".join(f"<li>{escape(item)}" for item in items) + "</ul>"


def figure(pictures: Sequence[np.ndarray], caption: str) -> str:
    """Give pictures side by side, (H, W, 3) uint8 RGB each, as JPEG, above a line of plain text."""
    images = "".join(f'<img alt="" src="{_jpeg_uri(picture)}"> ' for picture in pictures)
    return f"<figure>{images}<figcaption>{escape(caption)}</figcaption></figure>"


def plot(png: bytes) -> str:
    """Give a PNG as wide as the page."""
    return f'<img class=plot alt="" src="{_uri("png", png)}">'


def _jpeg_uri(picture: np.ndarray) -> str:
    encoded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return _uri("jpeg", encoded.tobytes())


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
