from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from moat_det import MOAT
from moat_det.benchmark.accuracy import costs, process
from moat_det.benchmark.accuracy.runs import Run
from moat_det.benchmark.runner import Row
from moat_det.cli.main import run
from moat_det.evaluation import STATS
from moat_det.files import atomic_write_json


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was trained and tested; models called yolo11s fail."""
    calls: list[str] = []

    def train(run: Run) -> bool:
        calls.append(f"train {run.model} {run.seed}")
        if run.model == "yolo11s":
            return False
        model = MOAT("tiny_moat0")
        model.overrides["imgsz"] = [32, 32]
        for file in (run.best, run.last):
            file.parent.mkdir(parents=True, exist_ok=True)
            model.save(file)
        return True

    def test(run: Run, tiles: int | None) -> bool:
        calls.append(f"test {run.model} {run.seed} {tiles}")
        atomic_write_json(run.test_folder(tiles) / "metrics.json", dict.fromkeys(STATS, 0.5 + run.seed / 10))
        return True

    monkeypatch.setattr(process, "train", train)
    monkeypatch.setattr(process, "test", test)
    monkeypatch.setattr(costs, "run_case", lambda case, repeats, threads: Row(case, [0.01], 100.0, 7.0, 8.0))
    monkeypatch.setattr(costs, "_machine_is_busy", lambda: False)
    return calls


def test_a_comparison_goes_on_where_it_stopped(
    make_set: Callable[[dict[str, str | None]], Path],
    tmp_path: Path,
    done: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = make_set({f"{number}.png": "0 0.5 0.5 0.5 0.5\n" for number in range(4)})
    words = ["--data", str(data), "--models", "tiny_moat0", "--epochs", "1", "--imgsz", "32", "--out"]
    words.append(str(tmp_path / "out"))
    assert run("bench", [*words, "--seeds", "0"]) == 0
    assert done == ["train tiny_moat0 0", "test tiny_moat0 0 None"]
    assert run("bench", [*words, "--seeds", "0", "1"]) == 0
    assert done[2:] == ["train tiny_moat0 1", "test tiny_moat0 1 None"]
    printed = capsys.readouterr()
    assert "| tiny_moat0 | whole  | 2 of 2 | 0.550    | 0.500 to 0.600        |" in printed.out
    assert "[1/2] tiny_moat0 on set, seed 0: trained" in printed.err
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        *("bench.csv", "bench.json", "bench.md", "bench.png"),
        *("bench.lock", "costs", "runs", "sets"),
    }

    assert run("bench", [*words, "--seeds", "0", "--epochs", "1", "--lr0", "0.1"]) == 0
    assert done[4:] == ["train tiny_moat0 0", "test tiny_moat0 0 None"], "another recipe is another run"
    assert len(list((tmp_path / "out/runs/set").iterdir())) == 3

    assert run("bench", [*words, "--seeds", "0", "--augmentation", "surface", "--window", "2"]) == 0
    assert len(done) == 8, "our own arguments are part of the recipe"
    preset = tmp_path / "mine.yaml"
    for text in ("engine: {fliplr: 0.5}", "engine: {fliplr: 0.25}"):
        preset.write_text(text)
        assert run("bench", [*words, "--seeds", "0", "--augmentation", str(preset)]) == 0
    assert len(done) == 12, "a file of other content is another recipe"


def test_a_run_that_fails_leaves_the_others(
    make_set: Callable[[dict[str, str | None]], Path],
    tmp_path: Path,
    done: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = make_set({f"{number}.png": "0 0.5 0.5 0.5 0.5\n" for number in range(4)})
    words = ["--data", str(data), "--models", "yolo11s", "tiny_moat0", "--seeds", "0", "--out", str(tmp_path / "out")]
    assert run("bench", words) == 1
    assert done == ["train yolo11s 0", "train tiny_moat0 0", "test tiny_moat0 0 None"]
    assert "Not trained or not tested yet, model (seed): yolo11s (0)." in capsys.readouterr().out


def test_tiles_of_other_bands_are_refused_before_a_training(
    make_set: Callable[[dict[str, str | None]], Path],
    tmp_path: Path,
    done: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("sahi")
    data = make_set({f"{number}.png": "0 0.5 0.5 0.5 0.5\n" for number in range(4)})
    data.write_text(data.read_text() + "channels: 1\n")
    words = ["--data", str(data), "--models", "tiny_moat0", "--out", str(tmp_path / "out"), "--sliced", "64"]
    assert run("bench", words) == 2
    assert "has 1 channels, and tiles are measured on images of 3" in capsys.readouterr().err
    assert not done


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("--seed 3", "--seed 3: leave it out; give --seeds"),
        ("--weights best.pt", "--weights"),
        ("--sliced 64 --max-det 10", "--max-det: tiles are tested without it"),
        ("--sliced 100", "--sliced 100: must be a multiple of 32"),
        ("--seeds -1", "--seeds"),
        ("--seeds 4294967296", "--seeds below 4294967296"),
        ("--models yolo11n tiny_moat0 --window 7", "--window: yolo11n has no such thing"),
        ("--models tiny_moat0 tiny_moat9", "no model is named 'tiny_moat9'"),
    ],
)
def test_what_cannot_be_is_a_line(
    make_set: Callable[[dict[str, str | None]], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: str,
    part: str,
) -> None:
    data = make_set({f"{number}.png": "0 0.5 0.5 0.5 0.5\n" for number in range(4)})
    models = [] if "--models" in words else ["--models", "tiny_moat0"]
    assert run("bench", ["--data", str(data), *models, "--out", str(tmp_path / "out"), *words.split()]) == 2
    printed = capsys.readouterr().err
    assert part in printed
    assert not (tmp_path / "out/runs").exists()
