"""A search from the command line to its settings, with trainings that are real, if small."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from moat_det.cli.main import run
from moat_det.demo import generate_demo

pytest.importorskip("optuna")


def test_a_search_trains_and_writes_settings_that_a_training_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo, model_yaml = generate_demo(tmp_path / "demo", train=16, val=4, size=(64, 64)), tmp_path / "small.yaml"
    model_yaml.write_text("backbone: {name: tiny_moat0}\nneck: {channels: [16, 16, 16]}\n")
    space = tmp_path / "space.yaml"
    space.write_text("lr0: {low: 0.0005, high: 0.01, log: true}\n")
    words = ["--data", demo, "--model", model_yaml, "--out", tmp_path / "tuned", "--space", space, "--minutes", 60]
    small = ["--trials", 2, "--epochs", 1, "--imgsz", 64, "--batch", 8, "--workers", 0, "--plots", "false"]
    assert run("tune", [str(word) for word in (*words, *small)]) == 0
    assert "2 trials (2 trained, 0 pruned, 0 failed)" in capsys.readouterr().out
    with (tmp_path / "tuned" / "trials.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [row["state"] for row in rows] == ["trained", "trained"]
    assert len({row["lr0"] for row in rows}) == 2
    assert (tmp_path / "tuned" / "tune.png").stat().st_size > 0
    best = ["--data", demo, "--model", model_yaml, "--cfg", tmp_path / "tuned" / "best.yaml", "--project", tmp_path]
    assert run("train", [str(word) for word in (*best, "--plots", "false")]) == 0
    assert (tmp_path / "train" / "weights" / "best.pt").exists()
