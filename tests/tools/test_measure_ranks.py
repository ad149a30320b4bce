from __future__ import annotations

import argparse
from pathlib import Path
from types import ModuleType

import pytest
import torch


def test_distances_are_shares_of_the_way_gone(tool: ModuleType) -> None:
    one = {0: torch.tensor([1.0, 0.0]), 1: torch.tensor([1.0, 2.0]), 5: torch.tensor([1.0, 4.0])}
    other = {0: one[0], 1: torch.tensor([1.0, 2.0]), 5: torch.tensor([2.0, 4.0])}
    assert tool.distances(one, other) == {1: 0.0, 5: 0.25}


def test_the_table_has_median_and_largest_of_the_seeds(tool: ModuleType) -> None:
    found = {"again": [{1: 0.0}] * 3, "two": [{1: 1e-5}, {1: 3e-4}, {1: 2e-5}]}
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in tool.table(found).splitlines()]
    assert lines[0] == ["steps", "one process again", "two processes"]
    assert lines[2] == ["1", "0.0e+00 (0.0e+00)", "2.0e-05 (3.0e-04)"]


@pytest.mark.parametrize("how", ["one", "reversed"])
def test_weights_are_kept_before_and_after_steps(tool: ModuleType, tmp_path: Path, how: str) -> None:
    model = tmp_path / "small.yaml"
    model.write_text("backbone: {name: tiny_moat0}\nneck: {channels: [16, 16, 16]}\n")
    tool.generate_demo(tmp_path / "demo", train=16, val=1, size=(64, 64))
    job = argparse.Namespace(out=tmp_path, model=str(model), imgsz=64, steps=[1, 2], seeds=[0])
    tool.train(job, how, tmp_path / "kept.pt")
    kept = torch.load(tmp_path / "kept.pt", weights_only=True)
    assert list(kept) == [0, 1, 2]
    assert not torch.equal(kept[0], kept[1])
    assert not torch.equal(kept[1], kept[2])


def test_what_is_there_is_not_written_over(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tool.main(["--out", str(tmp_path)]) == 2
    assert "it is there already" in capsys.readouterr().err
