"""What is printed where nobody reads it, or in another encoding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import sys
from pathlib import Path

import pytest
from moat_det.cli.runner import end_well
def work():
    for _ in range(50_000): print('划痕 \\udcfc')
    print('done', file=sys.stderr)
sys.exit(end_well('name', work, debug=False))
"""

_DROPPING = """
import gc, sys
from moat_det.cli.runner import end_well
def work():
    sys.__stdout__ = sys.__stderr__ = None
    gc.collect()
    print('still there')
sys.exit(end_well('name', work, debug=False))
"""


def test_a_library_that_drops_the_first_streams_closes_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", _DROPPING], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "still there\n", "")


def test_a_reader_that_goes_away_does_not_stop_the_work() -> None:
    words = ["bash", "-c", '"$0" -c "$1" | head -1; exit ${PIPESTATUS[0]}', sys.executable, _PROGRAM]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\\u5212\\u75d5 \\udcfc\n", "done\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("code", [0, 3])
def test_output_that_takes_no_more_is_said_in_a_line_when_the_work_is_done(code: int) -> None:
    program = _PROGRAM.replace("file=sys.stderr)", f"file=sys.stderr); return {code}")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "done"
    assert done.stderr.splitlines()[1].startswith("name: standard output cannot be written: ")
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_help_that_cannot_be_printed() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "moat_det", "demo", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert "standard output cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
