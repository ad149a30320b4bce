"""Training in processes of Ray: gone on from a new checkpoint, given up without one; Ray itself where it is there."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from moat_det.cli import main as cli
from moat_det.engine import MOAT
from moat_det.engine.checkpoint import load_checkpoint
from moat_det.engine.distributed.group import Group
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
    """Stands for Ray, and for its environment."""
    place = SimpleNamespace(
        LoggingConfig=str, RunConfig=dict, ScalingConfig=dict, TrainingFailedError=TrainingFailedError
    )
    torch = SimpleNamespace(TorchConfig=lambda backend, timeout_s: None, TorchTrainer=TorchTrainer)
    for name, content in {
        "ray": SimpleNamespace(is_initialized=lambda: True, cluster_resources=lambda: {"CPU": 9.0}),
        "ray.train": place,
        "ray.train.torch": torch,
    }.items():
        module = ModuleType(name)
        vars(module).update(vars(content))
        monkeypatch.setitem(sys.modules, name, module)
    for name, value in {"LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": os.environ["OMP_NUM_THREADS"]}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])


@pytest.fixture
def last(trained: Path, tmp_path: Path) -> Path:
    """A checkpoint of a training that goes on; it is not noted yet."""
    path = tmp_path / "runs" / "train" / "weights" / "last.pt"
    path.parent.mkdir(parents=True)
    replace(load_checkpoint(trained / "weights" / "last.pt"), training={"epoch": 0}).save(path)
    return path


def saved(last: Path, note: Callable[[Any], None]) -> None:
    """Do what a training does until it has written a checkpoint, in the place of an older one."""
    note(SimpleNamespace(group=Group(), last=last, newest_checkpoint=lambda: None))
    os.utime(last, ns=(1, last.stat().st_mtime_ns + 1))
    note(SimpleNamespace(group=Group(), last=last, newest_checkpoint=lambda: last))  # as after a batch was halved


def test_it_goes_on_as_long_as_there_is_a_newer_checkpoint(
    ray: None, last: Path, log: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    resumed: list[dict[str, Any]] = []

    def begin(on_train_start: Callable[[Any], None]) -> None:
        saved(last, on_train_start)
        raise RuntimeError("the actor\ndied.")

    def resume(model: MOAT, **arguments: Any) -> None:
        resumed.append(arguments)
        if len(resumed) == 1:
            os.utime(last, ns=(1, 1))
            raise UserError("process 0 of 2 waits for another that ended")

    monkeypatch.setattr(MOAT, "train", resume)
    train(begin, "cpu", 2)
    assert resumed == [{"resume": str(last), "device": "cpu"}] * 2
    assert [line.removeprefix("WARNING ⚠️ ") for line in log] == [
        f"process 0 failed with RuntimeError: the actor died; going on from {last}",
        f"process 0 of 2 waits for another that ended; going on from {last}",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_without_a_new_checkpoint_it_ends_with_the_reason(ray: None, last: Path) -> None:
    def begin(on_train_start: Callable[[Any], None]) -> None:
        # Where an older run's checkpoint lies.
        on_train_start(SimpleNamespace(group=Group(), last=last, newest_checkpoint=lambda: None))
        raise UserError("none.yaml: no such dataset YAML")

    with pytest.raises(UserError, match=r"^none\.yaml: no such dataset YAML$"):
        train(begin, "cpu", 2)


def test_a_second_death_at_the_same_checkpoint_ends_it(ray: None, last: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(on_train_start: Callable[[Any], None]) -> None:
        saved(last, on_train_start)
        raise UserError("first")

    def resume(model: MOAT, **_: Any) -> None:
        raise UserError("second")

    monkeypatch.setattr(MOAT, "train", resume)
    with pytest.raises(UserError, match=rf"^second; go on with --resume {last}$"):
        train(begin, "cpu", 2)


def test_a_death_after_the_end_is_none(ray: None, trained: Path, last: Path, log: list[str]) -> None:
    def begin(on_train_start: Callable[[Any], None]) -> None:
        shutil.copy(trained / "weights" / "last.pt", last)  # made fit for use
        saved(last, on_train_start)
        raise RuntimeError("killed")

    train(begin, "cpu", 2)
    assert log[-1].endswith(f"killed; the training had ended by then: {last}")


def test_a_process_has_its_share_of_the_cores_of_its_node(ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    cores = iter([8, 64, 8])  # here, there, here
    monkeypatch.setattr("moat_det.cores.available_cores", lambda: next(cores))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    for given in ("8", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", given)
        train(lambda on_train_start: seen.append(os.environ["OMP_NUM_THREADS"]), "cpu", 2)
    assert seen == ["16", "3"]


def test_too_few_gpus_or_cores_are_a_line(ray: None, monkeypatch: pytest.MonkeyPatch, log: list[str]) -> None:
    begun: list[str] = []
    monkeypatch.setattr(sys.modules["ray"], "cluster_resources", lambda: {"GPU": 2.0, "CPU": 3.0})
    with pytest.raises(
        UserError, match=r"--ray 3: each process takes a GPU, and Ray has 2: give --ray 2, or --device cpu"
    ):
        train(pytest.fail, None, 3)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    train(lambda on_train_start: begun.append("on two"), None, 2)
    assert not log
    train(lambda on_train_start: begun.append("on three"), None, 3)
    train(lambda on_train_start: begun.append("on four"), "cpu", 4)
    assert begun == ["on two", "on three", "on four"]
    assert [line.split(": ")[1] for line in log] == [
        "each process takes a GPU, and Ray has 2",
        "each process takes a CPU, and Ray has 3",
    ]


def test_what_ray_itself_says_is_the_reason(ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    error = TrainingFailedError({})
    del error.worker_failures
    error.controller_failure = ValueError("no room")  # type: ignore[attr-defined]
    monkeypatch.setattr(TorchTrainer, "fit", lambda self: raise_(error))
    with pytest.raises(UserError, match=r"^Ray failed with ValueError: no room$"):
        train(pytest.fail, "cpu", 2)


def raise_(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("--ray 0", "--ray 0: must be 1 process or more"),
        ("--ray 2 --device cpu,cpu", "--device cpu,cpu: with --ray each process takes a GPU of Ray's"),
        ("--ray 2 --device 0", "--device 0: with --ray each process takes a GPU of Ray's"),
        ("--ray 2", "pip install 'moat_det[ray]'"),
    ],
)
def test_what_cannot_be_is_a_line(
    words: str, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ray", "ray.train"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        cli.train(["--data", "demo", *words.split()])
    assert stopped.value.code == 2
    assert part in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


@with_ray
def test_a_killed_process_of_ray_costs_nothing(
    demo: Path, model_yaml: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], log: list[str]
) -> None:
    words = ["--data", str(demo), "--model", str(model_yaml), "--imgsz", "64", "--batch", "8", "--epochs", "4"]
    words += ["--project", str(tmp_path), "--plots", "false", "--amp", "fp32", "--sync-bn", "--debug"]
    cli.train([*words, "--name", "whole", "--device", "cpu,cpu"])
    killed = threading.Thread(target=kill_one, args=(tmp_path / "killed" / "weights" / "last.pt",), daemon=True)
    killed.start()
    cli.train([*words, "--name", "killed", "--device", "cpu", "--ray", "2"])
    killed.join()
    left = [load_checkpoint(tmp_path / name / "weights" / "last.pt").weights for name in ("whole", "killed")]
    assert all(torch.equal(left[0][name], left[1][name]) for name in left[0])
    assert any("going on from" in line for line in log)
    said = capfd.readouterr()
    assert "4 epochs completed" in said.out
    assert "Traceback" not in said.out + said.err
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def kill_one(last: Path) -> None:
    """Kill a process of this one's training once there is a checkpoint."""
    while not last.exists():
        time.sleep(0.01)
    workers = [process for process in psutil.Process().children(recursive=True) if "RayTrain" in process.name()]
    workers[-1].kill()
