from __future__ import annotations

import csv
import math
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import ultralytics.utils.callbacks

from moat_det import MOAT
from moat_det.detector.build import build_model, find_config
from moat_det.engine import loggers
from moat_det.engine.loggers import INTEGRATIONS, Loggers, check_loggers
from moat_det.engine.train_options import TrainOptions
from moat_det.errors import UserError

TINY = {"imgsz": 32, "batch": 4, "plots": False, "workers": 0, "verbose": False}


class FakeTrainer:
    """As much of a trainer as a logger sees."""

    def __init__(self, folder: Path) -> None:
        self.save_dir, self.epoch = folder, 0
        self.callbacks: dict[str, list[Callable[..., None]]] = defaultdict(list)

    def add_callback(self, event: str, callback: Callable[..., None]) -> None:
        self.callbacks[event].append(callback)

    def run(self, event: str) -> None:
        for callback in self.callbacks[event]:
            callback(self)


def read_events(folder: Path) -> dict[str, dict[int, float]]:
    """Give by figure and epoch what TensorBoard shows of a folder."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder), size_guidance={accumulator.SCALARS: 0})
    events.Reload()
    return {name: {event.step: event.value for event in events.Scalars(name)} for name in events.Tags()["scalars"]}


def read_rows(folder: Path) -> dict[int, dict[str, float]]:
    with (folder / "results.csv").open(newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    return {int(row.pop("epoch")): row for row in rows}


def assert_same(folder: Path) -> None:
    """Check that TensorBoard shows every figure of `results.csv`, and no other."""
    events, rows = read_events(folder), read_rows(folder)
    names = set(next(iter(rows.values()))) - {"time"}
    assert set(events) == names
    for name in names:
        assert set(events[name]) == set(rows)
        for epoch, row in rows.items():
            assert math.isclose(events[name][epoch], row[name], rel_tol=1e-5, abs_tol=1e-12), name


def test_tensorboard_shows_the_rows_of_results_csv(
    make_set: Callable[[dict[str, str | None]], Path], tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    data = make_set({"a.png": "0 0.5 0.5 0.5 0.5\n", "b.png": "0 0.3 0.3 0.4 0.4\n"})
    model = MOAT("tiny_moat0")
    model.train(data=str(data), epochs=2, project=str(tmp_path), name="logged", log=["tensorboard"], **TINY)
    assert_same(tmp_path / "logged")


def test_a_resumed_run_writes_over_the_epochs_that_it_does_again(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    first = FakeTrainer(tmp_path)
    board = Loggers(first, ["tensorboard"])  # type: ignore[arg-type]
    for first.epoch in range(3):
        board.write({"figure": 1.0 + first.epoch})
    first.run("teardown")
    second = FakeTrainer(tmp_path)
    board = Loggers(second, ["tensorboard"])  # type: ignore[arg-type]
    for second.epoch in range(1, 3):
        board.write({"figure": 11.0 + second.epoch})
    second.run("teardown")
    assert read_events(tmp_path) == {"figure": {1: 1.0, 2: 12.0, 3: 13.0}}


@pytest.mark.parametrize(
    ("names", "part"),
    [
        (["tensorbord"], "--log tensorbord: there is no such logger (did you mean 'tensorboard'?); there are csv, "),
        (["csv", "mlflow"], "--log mlflow: mlflow is not installed: pip install 'moat_det[mlflow]'"),
        (["tensorboard"], "--log tensorboard: tensorboard is not installed: pip install 'moat_det[tensorboard]'"),
        (["raytune"], "pip install 'ray[tune]'"),
    ],
)
def test_a_logger_that_is_not_there_is_a_line(monkeypatch: pytest.MonkeyPatch, names: list[str], part: str) -> None:
    monkeypatch.setattr(loggers, "_is_installed", lambda package: False)
    with pytest.raises(UserError) as caught:
        TrainOptions({}, log=names)
    assert part in str(caught.value)
    check_loggers(["csv"])


@pytest.fixture
def fake_wandb(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The engine's callbacks of W&B, replaced by some that note what they are called for."""
    calls: list[str] = []
    module: Any = ModuleType("ultralytics.utils.callbacks.wb")
    module.callbacks = {
        event: lambda trainer, event=event: calls.append(event)
        for event in ("on_pretrain_routine_start", "on_fit_epoch_end")
    }
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(ultralytics.utils.callbacks, "wb", module, raising=False)
    monkeypatch.setenv("WANDB_MODE", "")
    monkeypatch.delenv("WANDB_MODE")
    return calls


def test_an_integration_follows_only_who_names_it_and_stays_offline(
    fake_wandb: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = FakeTrainer(tmp_path)
    Loggers(other, ["csv"]).write({"figure": 1.0})  # type: ignore[arg-type]
    other.run("on_fit_epoch_end")
    assert not list(tmp_path.iterdir())
    assert fake_wandb == []
    assert "WANDB_MODE" not in loggers.os.environ

    trainer = FakeTrainer(tmp_path)
    Loggers(trainer, ["wandb"])  # type: ignore[arg-type]
    trainer.run("on_fit_epoch_end")
    assert fake_wandb == ["on_pretrain_routine_start", "on_fit_epoch_end"]
    assert loggers.os.environ["WANDB_MODE"] == "offline"

    monkeypatch.setenv("WANDB_MODE", "online")
    Loggers(FakeTrainer(tmp_path), ["wandb"])  # type: ignore[arg-type]
    assert loggers.os.environ["WANDB_MODE"] == "online", "the user's own word counts"


def test_a_logger_that_fails_ends_no_training(
    fake_wandb: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(trainer: SimpleNamespace) -> None:
        fake_wandb.append("failed")
        raise RuntimeError("the disk\nis full")

    sys.modules["ultralytics.utils.callbacks.wb"].callbacks["on_fit_epoch_end"] = fail  # type: ignore[attr-defined]
    trainer = FakeTrainer(tmp_path)
    Loggers(trainer, ["wandb"])  # type: ignore[arg-type]
    trainer.run("on_fit_epoch_end")
    trainer.run("on_fit_epoch_end")
    assert fake_wandb == ["on_pretrain_routine_start", "failed"]
    assert "--log wandb: failed, and gets no more of this training: the disk is full" in caplog.text


@pytest.mark.parametrize("step", ["open", "flush"])
def test_a_board_that_fails_ends_no_training(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[str] = []

    def fail(*_: object) -> None:
        calls.append(step)
        raise OSError("the disk is full")

    board = SimpleNamespace(add_scalar=lambda *_: None, flush=fail, close=fail)
    monkeypatch.setattr(loggers, "_open_board", fail if step == "open" else lambda *_: board)
    trainer = FakeTrainer(tmp_path)
    writer = Loggers(trainer, ["tensorboard"])  # type: ignore[arg-type]
    for trainer.epoch in range(2):
        writer.write({"figure": 1.0})
    trainer.run("teardown")
    assert calls == [step]
    assert "--log tensorboard: failed, and gets no more of this training: the disk is full" in caplog.text


def test_the_engine_has_the_integrations() -> None:
    folder = Path(ultralytics.utils.callbacks.__file__).parent
    missing = [name for name, integration in INTEGRATIONS.items() if not (folder / f"{integration.module}.py").exists()]
    assert not missing


def test_a_validation_has_what_the_engines_loggers_ask_for(
    make_set: Callable[[dict[str, str | None]], Path], tmp_path: Path
) -> None:
    data = make_set({"a.png": "0 0.5 0.5 0.5 0.5\n", "b.png": ""})
    model = MOAT("tiny_moat0")
    model.model = build_model(find_config("tiny_moat0"), 3, dict(enumerate(["scratch", "pit", "stain"])))
    validators: list[Any] = []
    model.add_callback("on_val_end", validators.append)
    model.val(data=str(data), imgsz=32, project=str(tmp_path), plots=False, workers=0, conf=0.9)
    (validator,) = validators
    assert validator.confusion_matrix.names == {0: "scratch", 1: "pit", 2: "stain"}
    assert validator.confusion_matrix.matrix.tolist() == [[0] * 4, [0] * 4, [0] * 4, [1, 0, 0, 0]]
    assert validator.metrics.results_dict["metrics/mAP50(B)"] == 0
    assert not validator.plots
