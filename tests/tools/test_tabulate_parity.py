from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest


def test_what_is_there_is_read_and_what_is_not_kept_is_said(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = {
        "parity": {"box": 0.25, "score": 1e-7},
        "accuracy": {"file": 0.3, "difference": -0.01, "low": -1, "high": 0},
    }
    folder = tmp_path / "onnx_f32"
    folder.mkdir()
    (folder / "parity.json").write_text(json.dumps(report))
    (folder / "best.onnx").write_bytes(bytes(1_500_000))

    class Refused:
        def __init__(self, weights: Path) -> None: ...

        def export(self, **options: object) -> None:
            raise tool.UserError("it lost too much")

    monkeypatch.setattr(tool, "MOAT", Refused)
    assert tool.main(["--weights", "best.pt", "--data", "demo", "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "| onnx | f32 | 1.5 | 0.25 | 1e-07 | 30.00 | -1.00 | -100.00 to +0.00 |" in lines
    assert "| openvino | int8 | not kept: it lost too much ||||||" in lines
