"""Headless Chromium, where there is one, without a network."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import pytest

_SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--v=0",
    "--virtual-time-budget=10000",
    "--dump-dom",
)


class Opened(NamedTuple):
    """A page after its scripts ran.

    Attributes:
        dom: Its elements by their `id`, with their attributes.
        text: All of it.
        console: What it said there, errors included.
    """

    dom: dict[str, dict[str, str]]
    text: str
    console: list[str]


def open_page(file: Path, profile: Path, fragment: str = "", width: int = 1280) -> Opened:
    """Open a page; skips the test where there is no Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here: what the page's scripts do is not seen")
    address = file.resolve().as_uri() + fragment
    # No name is found, so that a request to anywhere fails, and is said on the console.
    network = ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={profile}", f"--window-size={width},2000"]
    done = subprocess.run(
        [chromium, *_SWITCHES, *network, address], capture_output=True, text=True, timeout=120, check=True
    )
    reader = _Reader()
    reader.feed(done.stdout)
    return Opened(reader.found, done.stdout, re.findall(r"CONSOLE.*", done.stderr))


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, dict[str, str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.found[given["id"]] = given
