"""Training in processes of Ray: gone on from a new checkpoint, given up without one; Ray itself where it is there."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from moat_det.cli import main as cli
from moat_det.engine.ray_training import train
from moat_det.errors import UserError

with_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")


class TrainingFailedError(Exception):
    """As Ray raises it, with what each process failed by."""

    def __init__(self, failures: dict[int, Exception]) -> None:
        super().__init__("Training failed")
        self.worker_failures = failures


class TorchTrainer:
    """Runs one process here, and lets it fail as Ray does."""

    def __init__(self, work: Callable[[], None], **_: Any) -> None:
        self._work = work

    def fit(self) -> None:
        try:
            self._work()
        except Exception as error:
            raise TrainingFailedError({1: RuntimeError("later"), 0: error}) from error


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for Ray, and for a process that is not the first."""
    place = SimpleNamespace(RunConfig=dict, ScalingConfig=dict, TrainingFailedError=TrainingFailedError)
    torch = SimpleNamespace(TorchConfig=lambda backend, timeout_s: None, TorchTrainer=TorchTrainer)
    for name, content in {
        "ray": SimpleNamespace(is_initialized=lambda: True),
        "ray.train": place,
        "ray.train.torch": torch,
    }.items():
        module = ModuleType(name)
        vars(module).update(vars(content))
        monkeypatch.setitem(sys.modules, name, module)
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])


@pytest.fixture
def last(tmp_path: Path) -> Path:
    """Where the checkpoint will be."""
    path = tmp_path / "runs" / "train" / "weights" / "last.pt"
    path.parent.mkdir(parents=True)
    return path


def test_it_goes_on_as_long_as_there_is_a_newer_checkpoint(ray: None, last: Path, log: list[str]) -> None:
    parts: list[str] = []

    def begin() -> None:
        parts.append("begin")
        last.write_text("1")
        raise RuntimeError("the actor\ndied")

    def go_on() -> None:
        parts.append("go on")
        if len(parts) < 3:
            os.utime(last, ns=(1, len(parts)))
            raise UserError("process 0 of 2 waits for another that ended")

    train(begin, go_on, last, 2, "cpu")
    assert parts == ["begin", "go on", "go on"]
    assert [line.removeprefix("WARNING ⚠️ ") for line in log] == [
        f"process 0: the actor died; going on from {last}",
        f"process 0 of 2 waits for another that ended; going on from {last}",
    ]
    assert [path.name for path in last.parents[2].iterdir()] == ["train"]


@pytest.mark.parametrize("old", [False, True])
def test_without_a_new_checkpoint_it_ends_with_the_reason(ray: None, last: Path, old: bool) -> None:
    if old:
        last.touch()

    def begin() -> None:
        raise UserError("none.yaml: no such dataset YAML")

    with pytest.raises(UserError, match=r"^none\.yaml: no such dataset YAML$"):
        train(begin, pytest.fail, last, 2, "cpu")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("--ray 0", "--ray 0: must be 1 process or more"),
        ("--ray 2 --device cpu,cpu", "--device cpu,cpu: this command computes on one device"),
        ("--ray 2 --resume", "--resume: no unfinished weights/last.pt"),
        ("--ray 2", "pip install 'moat_det[ray]'"),
    ],
)
def test_what_cannot_be_is_a_line(
    words: str, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ray", "ray.train"):
        monkeypatch.setitem(sys.modules, name, None)
    project = tmp_path / "runs"
    with pytest.raises(SystemExit) as stopped:
        cli.train(["--data", "demo", "--project", str(project), *words.split()])
    assert stopped.value.code == 2
    assert part in capsys.readouterr().err
    assert not project.exists() or not any(project.iterdir())


@with_ray
def test_processes_of_ray(demo: Path, model_yaml: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--data", str(demo), "--model", str(model_yaml), "--imgsz", "64", "--batch", "8", "--epochs", "1"]
    cli.train([*words, "--project", str(tmp_path), "--plots", "false", "--ray", "2", "--debug"])
    assert (tmp_path / "train" / "weights" / "last.pt").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["train"]
    assert "1 epochs completed" in capfd.readouterr().out
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
