from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from moat_det.benchmark.accuracy import process
from moat_det.benchmark.accuracy.runs import Run
from moat_det.benchmark.accuracy.sets import BenchSet
from moat_det.files import atomic_write_json
from moat_det.tuning import training
from moat_det.tuning.budget import Budget
from moat_det.tuning.comparison import Comparison, compare
from moat_det.tuning.recipe import Recipe

SPLITS: dict[str, dict[str, int | str]] = {
    split: {"images": 4, "boxes": 8, "digest": split} for split in ("train", "val", "test")
}


@pytest.mark.parametrize(
    ("default", "best", "words"),
    [
        (
            (0.30, 0.32),
            (0.35, 0.36),
            "is better than the default by more than the seeds differ: AP 0.355 against 0.31",
        ),
        ((0.30, 0.36), (0.35, 0.36), "is not better than the default by more than the seeds differ"),
        ((0.30, 0.31), (0.25, 0.26), "is not better than the default by more than the seeds differ"),
        ((0.30,), (0.35,), "each trained anew with one other seed: that may be the seed's doing"),
        ((), (), "could not be compared with the default by trainings with other seeds: give more time"),
    ],
)
def test_the_line(default: tuple[float, ...], best: tuple[float, ...], words: str) -> None:
    line = Comparison(default, best).line(7)
    assert words in line
    assert line.startswith("trial 7")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was trained and tested."""
    calls: list[str] = []

    def train(run: Run, goes_on: Callable[[], bool]) -> training.End:
        calls.append(f"train {run.arguments['lr0']} {run.seed}")
        return "trained"

    def test(run: Run, tiles: int | None) -> bool:
        calls.append(f"test {run.arguments['lr0']} {run.seed}")
        atomic_write_json(run.test_folder(tiles) / "metrics.json", {"AP": run.arguments["lr0"] * 100 + run.seed / 100})
        return True

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(process, "test", test)
    monkeypatch.setattr(Run, "state", property(lambda run: "trained" if run.seed == 3 else "new"))
    return calls


def test_other_seeds_than_that_of_the_choice_are_trained_where_the_time_lets(tmp_path: Path, calls: list[str]) -> None:
    judged = BenchSet("steel", tmp_path / "data.yaml", SPLITS, "val", (64, 96))
    recipe = Recipe("tiny_moat0", judged, {}, 3, tmp_path / "runs")
    assert compare(recipe, {"lr0": 0.001}, {"lr0": 0.002}, Budget(150), 100) == Comparison((), ())
    assert not calls
    long = compare(recipe, {"lr0": 0.001}, {"lr0": 0.002}, Budget(250), 100)
    of_seeds = [[f"{what} {rate} {seed}" for what in ("train", "test") for rate in (0.001, 0.002)] for seed in (4, 5)]
    assert calls == [*of_seeds[0], *of_seeds[1]]
    assert (long.default, long.best) == (pytest.approx((0.14, 0.15)), pytest.approx((0.24, 0.25)))
    assert long.spread == pytest.approx(0.01)
