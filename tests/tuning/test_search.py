from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moat_det.benchmark.accuracy.runs import Run
from moat_det.benchmark.accuracy.sets import BenchSet
from moat_det.cli.commands.tune import TuneOptions, _search
from moat_det.errors import UserError
from moat_det.tuning import study as study_module
from moat_det.tuning import training
from moat_det.tuning.budget import Budget
from moat_det.tuning.plot import plot
from moat_det.tuning.recipe import Recipe
from moat_det.tuning.report import write_trials
from moat_det.tuning.search import Search
from moat_det.tuning.space import Parameter
from moat_det.tuning.study import FILE, Study, Tried

PARAMETERS = [Parameter("lr0", 0.001, 0.0001, 0.1, log=True), Parameter("augmentation", None, choices=(None, "light"))]
SPLITS: dict[str, dict[str, int | str]] = {
    split: {"images": 4, "boxes": 8, "digest": split} for split in ("train", "val", "test")
}
EPOCHS = 4


def best_at(run: Run) -> float:
    """AP that a training ends with: best at a rate of 0.01."""
    return 0.5 - abs(math.log10(run.arguments["lr0"]) + 2) / 10


class Fake:
    """Stands for the trainings: an epoch after each look."""

    def __init__(self) -> None:
        self.begun: list[Run] = []
        self.kill_after: int | None = None  # epochs, of all trainings together
        self.fails: Callable[[Run], bool] = lambda run: False

    def train(self, run: Run, goes_on: Callable[[], bool], _: Callable[[], bool]) -> training.End:
        self.begun.append(run)
        if self.fails(run):
            return "failed"
        run.folder.mkdir(parents=True, exist_ok=True)
        for epoch in range(len(training.epochs_of(run)) + 1, EPOCHS + 1):
            if self.kill_after is not None:
                self.kill_after -= 1
                if self.kill_after < 0:
                    raise KeyboardInterrupt
            with (run.folder / "results.csv").open("a") as file:
                if epoch == 1:
                    file.write("epoch,metrics/mAP50-95(B)\n")
                file.write(f"{epoch},{best_at(run) * epoch / EPOCHS:.5f}\n")
            if not goes_on():
                return "trained" if epoch == EPOCHS else "stopped"
        return "trained"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake()
    monkeypatch.setattr(training, "train", fake.train)
    return fake


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    judged = BenchSet("steel", tmp_path / "data.yaml", SPLITS, "val", (64, 96))
    return Recipe("tiny_moat0", judged, {"imgsz": 64, "epochs": EPOCHS}, 0, tmp_path / "runs")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the search go by what was found, and prune, after a few trials."""
    monkeypatch.setattr(study_module, "_RANDOM_TRIALS", 3)
    monkeypatch.setattr(study_module, "_TRIALS_BEFORE_PRUNING", 2)


def open_study(folder: Path, settings: Any = None, prune: bool = True) -> Study:
    folder.mkdir(exist_ok=True)
    return Study(folder, settings or {"lr0": [1]}, PARAMETERS, 0, EPOCHS, prune)


def search(study: Study, recipe: Recipe, most: int | None, budget: Budget | None = None) -> list[Tried]:
    Search(study, recipe, budget or Budget(1e6), most).run()
    return study.tried()


def test_the_default_is_the_first_and_the_best_is_found(tmp_path: Path, recipe: Recipe, fake: Fake) -> None:
    tried = search(open_study(tmp_path / "a"), recipe, 12)
    assert [each.number for each in tried] == list(range(12))
    assert tried[0].values == {"lr0": 0.001, "augmentation": None}
    assert fake.begun[0].arguments == {"imgsz": 64, "epochs": EPOCHS, "lr0": 0.001}
    assert tried[0].state == "trained"
    assert tried[0].ap == pytest.approx(best_at(fake.begun[0]), abs=1e-5)
    best = max((each for each in tried if each.state == "trained"), key=lambda each: each.ap or 0)
    assert best.ap > tried[0].ap
    assert 0.003 < best.values["lr0"] < 0.03
    pruned = [each for each in tried if each.state == "pruned"]
    assert pruned
    assert all(1 <= each.epochs < EPOCHS for each in pruned)
    assert all(each.epochs == EPOCHS for each in tried if each.state == "trained")


def test_a_search_that_is_killed_tries_what_it_would_have_tried(tmp_path: Path, recipe: Recipe, fake: Fake) -> None:
    whole = search(open_study(tmp_path / "a"), recipe, 7)
    assert {each.state for each in whole} == {"trained", "pruned"}
    for file in recipe.root.rglob("results.csv"):
        file.unlink()
    for _ in range(3):
        fake.kill_after = 5
        with pytest.raises(KeyboardInterrupt):
            search(open_study(tmp_path / "b"), recipe, 7)
    fake.kill_after = None
    again = search(open_study(tmp_path / "b"), recipe, 7)
    assert [(each.values, each.state, each.ap) for each in again] == [
        (each.values, each.state, each.ap) for each in whole
    ]
    fake.begun.clear()
    search(open_study(tmp_path / "b"), recipe, 7)
    assert not fake.begun


def test_the_time_is_that_of_all_calls(
    tmp_path: Path, recipe: Recipe, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    epochs_of = training.epochs_of

    def epoch_passes(run: Run) -> list[float]:
        now[0] += 10.0
        return epochs_of(run)

    monkeypatch.setattr(training, "epochs_of", epoch_passes)
    study = open_study(tmp_path / "a")
    (first,) = search(study, recipe, None, Budget(25, study.spent))
    assert (first.state, study.spent > 25) == ("cut", True)
    study = open_study(tmp_path / "a")
    budget = Budget(400, study.spent)
    assert budget.left < 400 - 25
    tried = search(study, recipe, None, budget)
    assert (tried[0].state, tried[0].epochs) == ("trained", EPOCHS)
    # What two more trainings take is kept for the repeats of default and best.
    assert 40 <= budget.left <= 110
    assert len(tried) > 3
    assert study.spent == pytest.approx(budget.spent, abs=10)


def test_the_default_must_train_and_others_may_fail(tmp_path: Path, recipe: Recipe, fake: Fake, log: list[str]) -> None:
    fake.fails = lambda run: run.arguments["lr0"] != 0.001
    with pytest.raises(UserError, match="5 trainings failed one after the other, the last: it has printed nothing"):
        search(open_study(tmp_path / "a"), recipe, 20)
    assert [each.state for each in open_study(tmp_path / "a").tried()] == ["trained", *["failed"] * 5]
    assert any("trial 1 failed: it has printed nothing" in line for line in log)
    fake.fails = lambda run: True
    for _ in range(2):  # it is tried again before all others
        with pytest.raises(UserError, match="the training with the default settings failed"):
            search(open_study(tmp_path / "b"), recipe, 20)
    fake.fails = lambda run: False
    study = open_study(tmp_path / "b")
    tried = search(study, recipe, 4)
    assert [(each.state, study.is_default(each.values)) for each in tried] == [
        *[("failed", True)] * 2,
        *[("trained", True), ("trained", False)],
    ]
    assert len(search(open_study(tmp_path / "b"), recipe, 4)) == 4


def test_a_space_of_few_settings_ends(
    tmp_path: Path, recipe: Recipe, fake: Fake, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_module, "_REPEATS", 20)
    few = [Parameter("lr0", 0.001, choices=(0.001, 0.01)), Parameter("augmentation", None, choices=(None, "light"))]
    (tmp_path / "a").mkdir()
    study = Study(tmp_path / "a", {}, few, 0, EPOCHS, False)
    tried = search(study, recipe, 50)
    assert len({tuple(each.values.items()) for each in tried}) == len(tried) == len(fake.begun) == 4
    assert {each.state for each in tried} == {"trained"}
    assert any("no other settings are left to try" in line for line in log)


def test_where_trainings_fail_in_the_end_the_table_of_the_others_is_there(
    tmp_path: Path, recipe: Recipe, fake: Fake
) -> None:
    fake.fails = lambda run: run.arguments["lr0"] != 0.001
    study = open_study(tmp_path / "a")
    with pytest.raises(UserError, match="5 trainings failed"):
        _search(study, recipe, TuneOptions("steel.yaml", tmp_path, hours=1), tmp_path)
    rows = list(csv.DictReader((tmp_path / "trials.csv").read_text().splitlines()))
    assert [row["state"] for row in rows] == ["trained", *["failed"] * 5]
    assert (tmp_path / "tune.png").is_file()


def test_a_folder_of_another_search_is_refused(tmp_path: Path) -> None:
    open_study(tmp_path / "a", {"imgsz": 64, "space": (1, 2)})
    open_study(tmp_path / "a", {"imgsz": 64, "space": [1, 2]})
    with pytest.raises(UserError, match=r"other settings \(imgsz\): .* choose another --out"):
        open_study(tmp_path / "a", {"imgsz": 96, "space": (1, 2)})
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / FILE).write_text("no database, this is a text and nothing else, as long as it has to be" * 50)
    with pytest.raises(UserError, match="no file of a search"):
        open_study(tmp_path / "b")


def test_table_and_picture(tmp_path: Path, recipe: Recipe, fake: Fake) -> None:
    study = open_study(tmp_path / "a", prune=False)
    assert all(each.state == "trained" for each in search(study, recipe, 6))
    importances = study.importances()
    assert importances["lr0"] > importances["augmentation"]
    assert sum(importances.values()) == pytest.approx(1)
    write_trials(tmp_path / "trials.csv", study.tried(), recipe)
    rows = list(csv.DictReader((tmp_path / "trials.csv").read_text().splitlines()))
    assert (rows[0]["lr0"], rows[0]["augmentation"], rows[0]["state"]) == ("0.001", "", "trained")
    assert (tmp_path / rows[3]["folder"] / "results.csv").is_file()
    for name, shares in (("a.png", importances), ("b.png", {})):
        plot(tmp_path / name, study.tried(), study.tried()[0], shares)
        assert (tmp_path / name).stat().st_size > 10_000
