from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "measure_loading.py"
LOAD = """
import json, sys, time
import numpy as np

sys.path.insert(0, sys.argv[1])
from measure_loading import measure_once

kept = []

def load():
    np.ones(64 << 20, np.uint8)  # given back before the end
    kept.append(np.ones(16 << 20, np.uint8))
    time.sleep(0.1)
    return 16_000_000

print(json.dumps(measure_once(load)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the tool reads /proc")
def test_memory_is_the_peak_above_what_was_resident(tmp_path: Path) -> None:
    script = tmp_path / "load.py"
    script.write_text(LOAD)
    # A process of its own, as the tool has: what earlier tests of this one left free would be used again, unseen.
    done = subprocess.run([sys.executable, script, TOOL.parent], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert result["memory"] == pytest.approx(64 * 1.048576, rel=0.1)
    assert 0.1 <= result["seconds"] < 2
    assert result["weights"] == 16


def test_goal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    compare = runpy.run_path(str(TOOL))["compare"]
    seconds = {"reader": 0.2, "reader-numpy": 0.4, "torch": 0.1}

    def run(*words: object) -> str:
        way = words[-1]
        return json.dumps({"seconds": seconds.get(way, 0), "memory": 10.0, "weights": 5.0})

    monkeypatch.setitem(compare.__globals__, "run", run)
    assert not compare(Path("a.tar.gz"), 3)  # 4 times torch
    seconds["reader-numpy"] = 0.3
    assert compare(Path("a.tar.gz"), 3)
    assert "reached" in capsys.readouterr().out
    seconds.update({"reader": 0.6, "torch": 0.5})
    assert not compare(Path("a.tar.gz"), 3)  # above half a second


def test_an_absent_archive(tmp_path: Path) -> None:
    words = [sys.executable, TOOL, "--archive", tmp_path / "absent.tar.gz"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "absent.tar.gz: there is no such file" in done.stderr
