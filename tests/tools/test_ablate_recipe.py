from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from helpers.datasets import open_dataset
from moat_det.backbones.windows import read_window
from moat_det.benchmark.accuracy import process
from moat_det.benchmark.accuracy.runs import Run
from moat_det.benchmark.accuracy.sets import BenchSet
from moat_det.cli.command import load_command
from moat_det.cli.parser import parse
from moat_det.errors import UserError

SHARED = {"imgsz": 320, "batch": 8}  # of all trainings
FACTORS = ["lr0=0.002", "neck.depth=2+mosaic=0"]
APS = {
    ("default", 0): 0.30,
    ("default", 1): 0.31,
    ("lr0", 0): 0.40,
    ("lr0", 1): 0.41,
    ("neck", 0): 0.1,
    ("neck", 1): 0.1,
}


@pytest.fixture
def words(make_set: Callable[[dict[str, str | None]], Path], tmp_path: Path) -> list[str]:
    labels = {f"board{board}_{view}.png": "0 0.5 0.5 0.2 0.2\n" for board in range(6) for view in range(2)}
    data = make_set(labels)
    given = ["--data", str(data), "--out", str(tmp_path / "out"), "--imgsz", "64", "--epochs", "2"]
    return [*given, "--group", r"^(board\d+)_", "--factors", *FACTORS]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, tool: ModuleType) -> list[Run]:
    """The runs that are trained, of which nothing but the figures comes."""
    done: list[Run] = []

    def train(run: Run, goes_on: Callable[[], bool]) -> str:
        assert goes_on()
        parse(load_command("train"), process.training(run)[1:])  # it takes them
        name = "lr0" if "lr0" in run.arguments else "neck" if run.model.endswith(".yaml") else "default"
        ap = APS[name, run.seed]
        (run.folder / "results.csv").write_text(f"epoch,metrics/mAP50-95(B)\n1,0.9\n2,{ap}\n")
        done.append(run)
        return "trained"

    monkeypatch.setattr(tool.training, "train", train)
    monkeypatch.setattr(Run, "state", property(lambda run: "trained" if run in done else "new"))
    return done


def test_each_change_is_paired_with_the_default_and_trained_once(
    tool: ModuleType, words: list[str], trained: list[Run], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert tool.main(words) == 0
    assert [run.seed for run in trained] == [0, 1] * 3, "the default of all seeds first, then change by change"
    default, _, faster, _, deeper, _ = trained
    assert {**default.arguments, "lr0": 0.002} == faster.arguments
    assert {**default.arguments, "mosaic": 0} == deeper.arguments
    assert default.arguments["val"] is False, "no epoch is chosen"
    assert default.model == faster.model == "tiny_moat0"
    assert yaml.safe_load(Path(deeper.model).read_text())["neck"]["depth"] == 2
    assert len({run.folder for run in trained}) == 6

    output = capsys.readouterr()
    assert "0 of 6 trainings are done" in output.err
    assert "lr0=0.002 on set, seed 0 (new)" in output.err
    assert "; 3 left after it" in output.err
    assert "| helps " in output.out
    assert "the default's seeds differ by 0.010" in output.out
    with (tmp_path / "out" / "ablation.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [(row["factor"], row["verdict"]) for row in rows] == [(FACTORS[0], "helps"), (FACTORS[1], "hurts")]
    assert float(rows[0]["difference, seed 1"]) == pytest.approx(0.1), "of the last epoch"

    assert tool.main(words) == 0
    assert len(trained) == 6
    assert "6 of 6 trainings are done" in capsys.readouterr().err


def test_half_of_the_groups_train_and_all_of_val_tests(tool: ModuleType, words: list[str], trained: list[Run]) -> None:
    tool.main(words)
    made = trained[0].set
    files = open_dataset(made.yaml_file).im_files
    assert len(files) == 6
    assert len({Path(file).name[:6] for file in files}) == 3
    assert made.images == {"train": 6, "val": 12, "test": 12}


def test_one_class_is_compared_where_it_is_named(
    tool: ModuleType, words: list[str], trained: list[Run], capsys: pytest.CaptureFixture[str]
) -> None:
    assert tool.main([*words, "--of", "scrach"]) == 2
    assert "--of scrach: set has no such class (did you mean 'scratch'?)" in capsys.readouterr().err
    assert tool.main([*words, "--of", "pit"]) == 2
    assert "--of pit: no label in val of set is of it, so it has no AP" in capsys.readouterr().err
    assert not trained
    tool.main(words)
    for run in trained:
        figures = {"per_class": {"scratch": {"AP": 0.5 + run.seed / 100 + ("lr0" in run.arguments) * 0.2}}}
        (run.folder / "metrics.json").write_text(json.dumps(figures))
    capsys.readouterr()
    assert tool.main([*words, "--of", "scratch"]) == 0
    assert len(trained) == 6, "what is trained is taken"
    printed = capsys.readouterr().out
    assert "AP of scratch on 12 after the last epoch" in printed
    assert "| 0.510           | 0.710           | +0.200" in printed


def test_one_that_is_stopped_leaves_the_others_to_the_next_call(
    tool: ModuleType, words: list[str], trained: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole: Any = tool.training.train

    def train(run: Run, goes_on: Callable[[], bool]) -> str:
        if len(trained) == 2:
            raise KeyboardInterrupt
        return whole(run, goes_on)

    monkeypatch.setattr(tool.training, "train", train)
    assert tool.main(words) == 130
    monkeypatch.setattr(tool.training, "train", whole)
    assert tool.main(words) == 0
    assert len(trained) == 6


def test_a_training_that_fails_is_said_and_the_others_go_on(
    tool: ModuleType,
    words: list[str],
    trained: list[Run],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole: Any = tool.training.train
    monkeypatch.setattr(
        tool.training, "train", lambda run, goes_on: "failed" if run.model.endswith(".yaml") else whole(run, goes_on)
    )
    assert tool.main(words) == 1
    output = capsys.readouterr()
    assert "it failed: it has printed nothing" in output.err
    assert "not trained yet" in output.out


def test_every_factor_that_is_tried_unless_others_are_named_is_a_change(tool: ModuleType) -> None:
    for text in tool.FACTORS:
        tool.read_factor(text, SHARED).config_of("tiny_moat0")
    for text in ("batch=16", "imgsz=640", "nbs=64"):  # the engine's or ours, but not that of these trainings
        assert tool.read_factor(text, SHARED).arguments


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("window=[null, null, 14, 7]", "window", [None, None, 14, 7]),
        ("window=[null, null, [14, 28], full]", "window", [None, None, [14, 28], "full"]),
        ("window=[7, 14]", "window", [7, 14]),
        ("imgsz=[256, 512]", "imgsz", [256, 512]),
        ("augmentation=null", "augmentation", None),
        ("lr0=0.002", "lr0", 0.002),
    ],
)
def test_a_value_reaches_the_training_as_the_user_wrote_it(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, name: str, expected: Any
) -> None:
    monkeypatch.setattr(Run, "state", "new")
    made = BenchSet("set", tmp_path / "set.yaml", {split: {"images": 1} for split in ("train", "val")}, "val", (64, 64))
    factor = tool.read_factor(text, {"augmentation": "surface"})
    words = process.training(Run("tiny_moat0", made, 0, factor.arguments, tmp_path))
    parsed = parse(load_command("train"), words[1:])
    found = {**parsed.engine, **parsed.own}[name]
    assert (read_window(found) if name == "window" else found) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr0", "write NAME=VALUE"),
        ("lr=0.1", "lr is no argument of moat train"),
        ("lr0=0.001", "that is the default"),
        ("batch=8", "that is the default"),
        ("layer_decay=2", "--layer-decay 2: must be over 0"),
        ("window=[7", "cannot be read as a value of YAML"),
        ("neck.depth=1", "that is the default of tiny_moat0"),
        ("neck.width=1", "unknown key 'width'"),
        ("body.depth=1", "unknown key 'body'"),
    ],
)
def test_what_is_no_change_is_refused(tool: ModuleType, text: str, message: str) -> None:
    with pytest.raises(UserError, match="--factors") as caught:
        tool.read_factor(text, SHARED).config_of("tiny_moat0")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("option", "value"), [("--epochs", "0"), ("--imgsz", "-64"), ("--batch", "0"), ("--share", "2")]
)
def test_what_no_training_can_take_is_refused_before_the_first(
    tool: ModuleType, option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {"--data": "demo", "--imgsz": "64", "--epochs": "1", "--out": str(tmp_path / "out"), option: value}
    assert tool.main([word for pair in words.items() for word in pair]) == 2
    assert f"{option} {value}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
