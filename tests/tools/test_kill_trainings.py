from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
import torch

from moat_det.engine.checkpoint import Checkpoint

# Stands for a training: its options, then checkpoints one after the other, each written through a temporary file.
PROGRAM = """
import shutil, sys, time
from pathlib import Path
run, seed, spoilt = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
weights = run / "weights"
weights.mkdir(parents=True, exist_ok=True)
for file in weights.glob(".*"):
    file.unlink()
(run / "options.yaml").touch()
for number in range(10):
    for name in ("last.pt", "best.pt"):
        temporary = weights / f".{name[:4]}-0123abcd.pt"
        temporary.touch()
        time.sleep(0.01)
        shutil.copy(seed, temporary)
        temporary.replace(weights / name)
(run / "results.csv").write_text(f"epoch,time,AP\\n1,{time.time()},0.5\\n")
if spoilt == "yes" and run.name == "kill01":
    shutil.copy(seed.with_name("other.pt"), weights / "last.pt")
"""


@pytest.mark.parametrize("spoilt", ["no", "yes"])
def test_what_is_killed_is_compared_with_what_was_not(
    spoilt: str,
    tool: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in (("seed.pt", 1.0), ("other.pt", 1.0 + 1e-6)):
        Checkpoint({}, {0: "pit"}, {"weight": torch.tensor([value])}, {}, {}, training={}).save(tmp_path / name)

    def start(words: Sequence[str], run: Path) -> subprocess.Popen[bytes]:
        assert any(word.startswith(("--data=", "--resume=")) for word in words)
        return subprocess.Popen([sys.executable, "-c", PROGRAM, str(run), str(tmp_path / "seed.pt"), spoilt])

    monkeypatch.setattr(tool, "_start", start)
    code = tool.main(["--out", str(tmp_path / "out"), "--kills", "4", "--workers", "0"])
    assert code == (spoilt == "yes")
    found = json.loads((tmp_path / "out/kills.json").read_text())
    assert [each["case"]["in_write"] for each in found] == [False, False, True, True]
    assert [each["equal"] for each in found] == [True, spoilt == "no", True, True]
    assert all(each["resumed"] and not each["left"] for each in found)
    table = capsys.readouterr().out
    assert table.count("| 0 ") >= 2
    assert "bit-equal" in table
