"""HTML pages that need no other file: filled-in templates, pictures within them, one style."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from moat_det.report.plots import vega

_QUALITY = 75  # of JPEGs


@dataclass(frozen=True)
class Table:
    """A table of a page; the first cell of a row is its heading.

    Attributes:
        caption: What it shows, a plain text.
        header: A text for each column; none where the rows speak for themselves.
        rows: Their cells, shown as `str` gives them.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[object]]


def render(template: Path, **content: Any) -> str:
    """Give the page that a template makes of some content; texts are escaped.

    Args:
        template: A Jinja template; it may extend `base.html` and import `macros.html` of this room.
        content: By the names that the template uses.
    """
    folders = [template.parent, Path(__file__).parent]
    environment = Environment(
        loader=FileSystemLoader(folders), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.globals["vega"] = lambda: Markup(vega())
    return environment.get_template(template.name).render(content)


def jpeg_uri(picture: np.ndarray) -> str:
    """Give a picture, (H, W, 3) uint8 RGB, as a JPEG within the page."""
    encoded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return _uri("jpeg", encoded.tobytes())


def png_uri(content: bytes) -> str:
    """Give the bytes of a PNG as a picture within the page."""
    return _uri("png", content)


def size_of(uris: Iterable[str]) -> int:
    """Give the bytes that pictures add to a page."""
    return sum(map(len, uris))


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
