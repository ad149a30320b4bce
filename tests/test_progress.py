"""What long work says of itself where no bar can be drawn."""

from __future__ import annotations

import io
import sys

import pytest
from tqdm import tqdm

from moat_det import progress as module
from moat_det.progress import progress


class Clock:
    """A clock that a test sets."""

    now = 1e6

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_a_line_now_and_then(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in progress(range(100), "reading", unit="image"):
        clock.now += 1
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "reading: 30 of 100 image, 00:30 passed, about 01:10 left",
        "reading: 60 of 100 image, 01:00 passed, about 00:40 left",
        "reading: 90 of 100 image, 01:30 passed, about 00:10 left",
    ]


def test_short_work_says_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress(total=100, text="writing") as bar:
        for _ in range(100):
            clock.now += 0.1
            bar.update()
    assert list(progress(iter(range(3)), "counting")) == [0, 1, 2]
    assert not capsys.readouterr().err


def test_bytes_and_work_without_a_length(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress(total=4_000_000, text="loading", unit="B", unit_scale=True) as bar, progress(text="seen") as other:
        clock.now += 60
        bar.update(1_000_000)
        other.update(7)
    assert capsys.readouterr().err.splitlines() == [
        "loading: 1.00M of 4.00M B, 01:00 passed, about 03:00 left",
        "seen: 7 it, 01:00 passed",
    ]


def test_a_terminal_gets_a_bar_and_a_process_without_one_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    bar = progress(range(3), "reading")
    assert type(bar) is tqdm
    assert list(bar) == [0, 1, 2]
    assert "\r" in terminal.getvalue()
    monkeypatch.setattr(sys, "stderr", None)
    assert list(progress(range(3), "reading")) == [0, 1, 2]
