from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools import measure_loading
from tools.bundle_writer import sample, tar_gz

ROOT = Path(__file__).resolve().parents[2]
LOAD = """
import json, time
import numpy as np
from tools.measuring import run_once

kept = []

def load():
    np.ones(64 << 20, np.uint8)  # given back before the end
    kept.append(np.ones(16 << 20, np.uint8))
    time.sleep(0.1)
    return 16

print(json.dumps(run_once(load)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the tool reads /proc")
def test_memory_is_the_peak_above_what_was_resident(tmp_path: Path) -> None:
    # A process of its own, as the tool has: what earlier tests of this one left free would be used again, unseen.
    done = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True, check=True, cwd=ROOT)
    result = json.loads(done.stdout)
    assert result["memory"] == pytest.approx(64, rel=0.1)
    assert 0.1 <= result["seconds"] < 2
    assert result["amount"] == 16


def test_goal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seconds = {"reader": 0.4, "torch": 0.1}

    def run(*words: object) -> dict[str, float]:
        return {"seconds": seconds.get(str(words[-1]), 0), "memory": 10.0, "amount": 5e6}

    monkeypatch.setattr(measure_loading, "run_tool", run)
    assert not measure_loading.compare(Path("a.tar.gz"), 3)  # 4 times torch
    seconds["reader"] = 0.3
    assert measure_loading.compare(Path("a.tar.gz"), 3)
    assert "reached" in capsys.readouterr().out
    seconds.update({"reader": 0.6, "torch": 0.5})
    assert not measure_loading.compare(Path("a.tar.gz"), 3)  # above half a second


def test_the_table_of_an_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = tmp_path / "small.tar.gz"
    archive.write_bytes(tar_gz({f"model.ckpt{suffix}": content for suffix, content in sample().files().items()}))
    assert measure_loading.main(["--archive", str(archive), "--repeats", "1"]) in (0, 1)
    first, _, *rows, last = capsys.readouterr().out.splitlines()
    assert first.startswith("small.tar.gz: 0.0 MB of weights, median of 1")
    assert [row.split()[0] for row in rows] == ["our", "tarfile"]
    assert last.startswith("goal, ")


def test_an_absent_archive(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tools.measure_loading", "--archive", tmp_path / "absent.tar.gz"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert "absent.tar.gz: there is no such file" in done.stderr
