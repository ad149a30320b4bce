"""A process that dies, or hangs, ends all of them, and the run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from moat_det.cli import main as cli
from moat_det.engine.device import choose_device
from moat_det.engine.distributed.devices import named_devices
from moat_det.engine.distributed.launch import launch
from moat_det.engine.trainer import Trainer
from moat_det.errors import UserError

SMALL = ["--imgsz", "64", "--batch", "8", "--plots", "false", "--workers", "0"]


class Stopped(Exception):
    """What stops a training after its first epoch."""


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 240  # processes that wait for one another would wait for half an hour
    while not path.is_file():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture(scope="module")
def killed(demo: Path, model_yaml: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, int, float]:
    """A run whose second process was killed: its folder, what was said, the exit code, seconds until all had ended."""
    folder = tmp_path_factory.mktemp("killed")
    words = ["--data", demo, "--model", model_yaml, "--epochs", 500, "--device", "cpu,cpu", "--sync-bn", *SMALL]
    starter = subprocess.Popen(
        [sys.executable, "-m", "moat_det", "train", "--project", str(folder), *map(str, words)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    wait_for(folder / "train" / "weights" / "last.pt", starter)
    children = psutil.Process(starter.pid).children()
    next(child for child in children if child.environ()["RANK"] == "1").send_signal(signal.SIGKILL)
    begin = time.monotonic()
    said = starter.communicate(timeout=60)[1]
    seconds = time.monotonic() - begin
    assert not any(child.is_running() for child in children)
    return folder / "train", said, starter.returncode, seconds


def test_all_end_with_a_killed_one(killed: tuple[Path, str, int, float]) -> None:
    _, said, code, seconds = killed
    assert seconds < 60
    assert code == 2
    assert "train: process 1 of 2 was killed by SIGKILL" in said.splitlines()[-1]
    assert "Traceback" not in said


def test_one_process_goes_on(
    killed: tuple[Path, str, int, float], monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    def stop(self: Trainer) -> bool:
        raise Stopped

    monkeypatch.setattr(Trainer, "save_model", stop)
    with pytest.raises(Stopped):
        cli.train(["--resume", str(killed[0] / "weights" / "last.pt"), "--device", "cpu", "--debug"])
    assert any("goes on in 1 process(es), after 2" in line for line in log)
    assert len((killed[0] / "results.csv").read_text().splitlines()) >= 1 + 2


HANGING = """
import sys, time
from datetime import timedelta
import moat_det.offline
from moat_det.engine.distributed import group as module

module.TIMEOUT, module._GRACE = timedelta(seconds=3), 0
group = module.join("cpu")
if group.leads:
    with module.lost_ranks_explained(group):
        group.any(False)
time.sleep(600)
"""


def test_all_end_after_one_hangs(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(subprocess, "Popen", hanging(subprocess.Popen))
    begin = time.monotonic()
    assert launch(["train"], ["cpu", "cpu"]) == 1
    assert time.monotonic() - begin < 60
    assert "process 0 of 2 waits for another that ended or has not answered" in capfd.readouterr().err


def hanging(start: type) -> object:
    return lambda words, **settings: start([sys.executable, "-c", HANGING], **settings)


def test_more_processes_than_images_in_a_batch(demo: Path, model_yaml: Path, tmp_path: Path) -> None:
    words = ["--data", demo, "--model", model_yaml, "--device", "cpu,cpu", "--imgsz", 64, "--batch", 1]
    done = subprocess.run(
        [sys.executable, "-m", "moat_det", "train", "--project", str(tmp_path), *map(str, words)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("train: --batch 1: the 2 processes share each batch")
    assert done.stderr.count("share each batch") == 1
    assert not list(tmp_path.iterdir()), "the folder of a run that did not begin is gone"


@pytest.mark.parametrize("devices", ["0,0", "cpu,0"])
def test_devices_that_cannot_be(devices: str) -> None:
    with pytest.raises(UserError, match="name different GPUs"):
        named_devices(devices)


@pytest.mark.parametrize(
    ("given", "names"),
    [(None, []), ("", []), (0, ["0"]), ("cuda:1", ["1"]), ([0, 1], ["0", "1"]), ("CPU,cpu", ["cpu"] * 2)],
)
def test_devices_are_named_in_many_ways(given: object, names: list[str]) -> None:
    assert named_devices(given) == names


def test_what_computes_in_one_process_takes_the_first_device_of_several() -> None:
    assert choose_device("cpu,cpu").type == "cpu"
