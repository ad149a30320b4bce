"""What is printed where nobody reads it, or in another encoding."""

from __future__ import annotations

import os
import subprocess
import sys

_PROGRAM = """
import sys
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
