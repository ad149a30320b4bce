from __future__ import annotations

import argparse
from pathlib import Path
from types import ModuleType

import pytest
import torch


def test_distances_are_shares_of_the_way_gone(tool: ModuleType) -> None:
    one = {0: torch.tensor([1.0, 0.0]), 1: torch.tensor([1.0, 2.0]), 5: torch.tensor([1.0, 4.0])}
    other = {0: one[0], 1: torch.tensor([1.0, 2.0]), 5: torch.tensor([2.0, 4.0])}
    assert tool.distances(one, other) == {1: (0.0, 0.0), 5: (0.25, 1.0)}


def test_the_table_has_every_seed(tool: ModuleType) -> None:
    found = {"again": [{1: (0.0, 0.0)}] * 2, "two": [{1: (1e-5, 1e-6)}, {1: (3e-4, 2e-5)}]}
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in tool.table(found).splitlines()]
    assert lines[0] == ["steps", "one process again", "two processes"]
    assert lines[2] == ["1", "0.0e+00 (0.0e+00), 0.0e+00 (0.0e+00)", "1.0e-05 (1.0e-06), 3.0e-04 (2.0e-05)"]


def test_in_float64_the_images_of_a_batch_may_come_in_any_order(tool: ModuleType, tmp_path: Path) -> None:
    model = tmp_path / "small.yaml"
    model.write_text("backbone: {name: tiny_moat0}\nneck: {channels: [16, 16, 16]}\n")
    tool.generate_demo(tmp_path / "demo", train=16, val=1, size=(64, 64))
    kept = {}
    for how in ("one", "reversed"):
        job = argparse.Namespace(
            out=tmp_path, model=str(model), imgsz=64, steps=[1, 2], seeds=[0], double=True, rate=None
        )
        tool.train(job, how, tmp_path / f"{how}.pt")
        kept[how] = torch.load(tmp_path / f"{how}.pt", weights_only=True)
        assert list(kept[how]) == [0, 1, 2], "before the first step, and after each"
    assert not torch.equal(kept["one"][0], kept["one"][2])
    assert 0 < tool.distances(kept["one"], kept["reversed"])[2][0] < 1e-6


def test_what_is_there_is_not_written_over(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tool.main(["--out", str(tmp_path)]) == 2
    assert "it is there already" in capsys.readouterr().err
