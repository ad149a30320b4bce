"""A file that is much faster than its checkpoint is said to be so, where it is of the same weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moat_det.files import sha256
from moat_det.runtime.speed import say_faster


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A checkpoint, beside which exports are put by `put`."""
    file = tmp_path / "best.pt"
    file.write_bytes(b"weights")
    return file


def put(weights: Path, name: str, seconds: object, monkeypatch: pytest.MonkeyPatch, digest: str | None = None) -> None:
    class Facts:
        precision = "bf16"

        def __init__(self, folder: Path) -> None:
            self.weights = json.loads((folder / "metadata.json").read_text())

    folder = weights.with_name(name)
    folder.mkdir()
    (folder / "parity.json").write_text(json.dumps({"seconds": seconds}))
    (folder / "metadata.json").write_text(json.dumps({"sha256": digest or sha256(weights)}))
    monkeypatch.setattr("moat_det.runtime.speed.Metadata.read", Facts)


def test_the_fastest_is_named(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(weights, "best_onnx", {"file": 0.1, "checkpoint": 0.2}, monkeypatch)
    put(weights, "best_openvino", {"file": 0.05, "checkpoint": 0.2}, monkeypatch)
    line = say_faster(weights)
    assert line is not None
    assert "best_openvino (bf16)" in line
    assert "4.0 times as fast" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("seconds", "digest"),
    [
        ({"file": 0.15, "checkpoint": 0.2}, None),  # not by more than a half
        ({"file": 0.05, "checkpoint": 0.2}, "0" * 64),  # of other weights
        (None, None),  # not measured
    ],
)
def test_others_are_not(seconds: object, digest: str | None, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(weights, "best_onnx", seconds, monkeypatch, digest)
    (weights.parent / "best_notes").mkdir()
    assert say_faster(weights) is None
