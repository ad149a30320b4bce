from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from moat_det import MOAT
from moat_det.benchmark.accuracy import process
from moat_det.benchmark.accuracy.runs import Run
from moat_det.cli.main import run
from moat_det.files import atomic_write_json
from moat_det.tuning import training

Make = Callable[[dict[str, str | None]], Path]
BOX = "0 0.5 0.5 0.5 0.5\n"


@pytest.fixture
def data(make_set: Make) -> Path:
    return make_set({f"{number}.png": BOX for number in range(10)})


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """The trainings; a preset helps."""
    begun: list[Run] = []

    def train(run: Run, *_: Callable[[], bool]) -> training.End:
        begun.append(run)
        run.folder.mkdir(parents=True, exist_ok=True)
        ap = 0.4 if "augmentation" in run.arguments else 0.3
        (run.folder / "results.csv").write_text(f"epoch,metrics/mAP50-95(B)\n1,{ap}\n")
        return "trained"

    def test(run: Run, tiles: int | None) -> bool:
        ap = (0.35 if "augmentation" in run.arguments else 0.25) + run.seed / 100
        atomic_write_json(run.test_folder(tiles) / "metrics.json", {"AP": ap})
        return True

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(process, "test", test)
    monkeypatch.setattr(Run, "state", property(lambda run: "trained" if run in begun else "new"))
    return begun


def test_a_search_leaves_settings_that_train_takes(
    data: Path, tmp_path: Path, trained: list[Run], capsys: pytest.CaptureFixture[str]
) -> None:
    space, out = tmp_path / "space.yaml", tmp_path / "out"
    space.write_text("augmentation: {choices: [null, light]}\nlr0: {low: 0.0001, high: 0.01, log: true}\n")
    words = ["--data", str(data), "--backbone", "tiny_moat0", "--imgsz", "32", "--epochs", "1", "--workers", "0"]
    words += ["--space", str(space), "--judge", "0.3", "--minutes", "5", "--out", str(out)]
    before = sorted(data.parent.rglob("*"))
    assert run("tune", [*words, "--trials", "6"]) == 0
    printed = capsys.readouterr().out
    assert "6 trials (6 trained, 0 pruned, 0 failed)" in printed
    assert "is better than the default by more than the seeds differ: AP 0.365 against 0.265" in printed
    assert sorted(data.parent.rglob("*")) == before, "something was written beside the data"
    assert {file.name for file in out.iterdir()} == {
        *("best.yaml", "trials.csv", "tune.png", "study.db", "tune.lock", "sets", "runs")
    }
    judged = yaml.safe_load((out / "sets/set/data.yaml").read_text())
    names = {
        part: {Path(line).name for line in (out / "sets/set" / judged[part]).read_text().split()}
        for part in ("train", "val")
    }
    assert (len(names["train"]), len(names["val"])) == (7, 3)
    assert not names["train"] & names["val"]
    assert judged["test"] == [str(data.parent / "images/val")]
    assert [each.seed for each in trained] == [0] * 6 + [1, 1, 2, 2]

    best = yaml.safe_load((out / "best.yaml").read_text())
    assert best["augmentation"] == "light"
    assert "workers" not in best, "where it runs is the user's own matter"
    trainer = MOAT("tiny_moat0").make_trainer(
        data=str(data), cfg=str(out / "best.yaml"), project=str(tmp_path / "runs"), device="cpu"
    )
    assert (trainer.args.lr0, trainer.args.epochs, trainer.args.mosaic) == (best["lr0"], 1, 0.5)

    assert run("tune", [*words, "--trials", "7"]) == 0
    assert len(trained) == 11, "what was tried and compared is there"
    assert run("tune", [*words, "--trials", "7", "--lrf", "0.1"]) == 2
    assert "holds a search with other settings (arguments)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("", "give --minutes or --hours"),
        ("--minutes 1 --hours 1", "give --minutes or --hours"),
        ("--minutes 0", "above 0"),
        ("--minutes 1 --trials 0", "--trials 0"),
        ("--minutes 1 --judge 1", "--judge 1: must be"),
        ("--minutes 1 --seed -1", "--seed -1"),
        ("--minutes 1 --seed 4294967296", "--seed 4294967296: must be 0 or more, below 4294967296"),
        ("--minutes 1 --resume", "--resume True: leave it out; a search goes on by itself"),
        ("--minutes 1 --cfg a.yaml", "--cfg"),
        ("--minutes 1 --model yolo11n.yaml", "moat tune is for models on a backbone"),
        ("--minutes 1 --model a.yaml --backbone tiny_moat0", "exclude each other"),
        ("--minutes 1 --space absent.yaml", "absent.yaml"),
    ],
)
def test_what_cannot_be_is_a_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, part: str
) -> None:
    assert run("tune", ["--data", str(data), "--out", str(tmp_path / "out"), *words.split()]) == 2
    printed = capsys.readouterr().err
    assert part in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_without_optuna_it_says_how_to_get_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert run("tune", ["--data", str(data), "--out", str(tmp_path / "out"), "--hours", "1"]) == 2
    assert "pip install 'moat_det[tune]'" in capsys.readouterr().err
