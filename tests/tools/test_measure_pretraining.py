from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from helpers.datasets import open_dataset
from moat_det.cli.command import load_command
from moat_det.cli.parser import parse


@pytest.fixture
def data(make_set: Callable[[dict[str, str | None]], Path]) -> Path:
    return make_set({f"{number}.png": "0 0.5 0.5 0.2 0.2\n" for number in range(10)})


def test_a_share_is_a_part_of_a_larger_one(tool: ModuleType, data: Path, tmp_path: Path) -> None:
    recipe = tool.Recipe(data, "tiny_moat0", 8, 2, 64, tmp_path / "out")
    shares = {share: tool.write_share(recipe, share) for share in (0.2, 0.5, 1.0)}
    assert [count for _, count in shares.values()] == [2, 5, 10]
    names = [{Path(file).name for file in open_dataset(yaml).im_files} for yaml, _ in shares.values()]
    assert names[0] < names[1] < names[2]
    assert len(open_dataset(shares[0.2][0], "val")) == 10


def test_every_run_has_as_many_steps_and_is_done_once(
    tool: ModuleType, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[Sequence[str]] = []

    def moat(words: Sequence[str]) -> None:
        commands.append(words)
        given = parse(load_command(words[0]), list(words[1:]))  # it takes them
        values = {**given.engine, **given.own}
        folder = Path(values["project"], values["name"])
        (folder / "weights").mkdir(parents=True)
        if words[0] == "train":
            epochs = values["epochs"]
            ap = 0.25 + 0.5 * ("weights" in values)
            lines = [f"{epoch}, 0" for epoch in range(1, epochs)] + [f"{epochs}, {ap}"]
            (folder / "results.csv").write_text("epoch, metrics/mAP50-95(B)\n" + "\n".join(lines) + "\n")

    monkeypatch.setattr(tool, "_moat", moat)
    words = ["--data", str(data), "--source", str(data.parent / "images"), "--out", str(tmp_path / "out")]
    words += ["--shares", "1", "0.2", "--seeds", "0", "--steps", "10", "--batch", "2", "--imgsz", "64"]
    assert tool.main(words) == 0
    assert [each[0] for each in commands] == ["pretrain", *["train"] * 4]
    epochs = [each[each.index("--epochs") + 1] for each in commands[1:]]
    assert epochs == ["10", "10", "2", "2"]
    assert ["--weights" in each for each in commands[1:]] == [False, True, False, True]
    assert "| 20% | pre-trained | 0.750 | 0.750 |" in capsys.readouterr().out
    assert (tmp_path / "out" / "table.md").read_text().count("\n") == 6
    assert tool.main(words) == 0
    assert len(commands) == 5
