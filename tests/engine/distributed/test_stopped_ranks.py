"""A signal to end leaves a checkpoint of several processes, whichever of them it comes to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch

from moat_det.engine.checkpoint import load_checkpoint

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")

REPO = Path(__file__).parents[3]
LONGEST = 300  # seconds; processes that wait for one another would wait for half an hour
SMALL = ["--imgsz", "64", "--batch", "2", "--epochs", "1", "--plots", "false"]
MOAT = [sys.executable, "-m", "moat_det"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]

Sent = Callable[[psutil.Process], None]


def begin(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,  # as a shell gives each command a process group
    )


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + LONGEST
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def stop(started: subprocess.Popen[str], run: Path, send: Sent) -> tuple[str, int]:
    """Stop a training amid its first epoch: what was said, and the exit code; all processes have ended."""
    last = run / "weights" / "last.pt"
    wait_until(lambda: last.is_file() or started.poll() is not None)
    assert started.poll() is None, started.communicate()[0]
    starter = psutil.Process(started.pid)
    ranks = starter.children(recursive=True)
    send(starter)
    said = started.communicate(timeout=LONGEST)[0]
    wait_until(lambda: not any(rank.is_running() for rank in ranks))
    return said, started.returncode


def check_stopped(run: Path, said: str) -> None:
    assert said.count("Stopped in epoch 1; --resume") == 1
    assert said.count("train: stopped") == 1
    position = load_checkpoint(run / "weights" / "last.pt").training["position"]  # type: ignore[index]
    assert 1 <= position["batches"] <= 12
    assert [path.name for path in (run / "weights").iterdir()] == ["last.pt"], "no half files"


@pytest.fixture
def words(demo: Path, model_yaml: Path, tmp_path: Path) -> list[str]:
    """A training that writes a checkpoint after each batch, from which the test sees that it is amid an epoch."""
    return ["--data", str(demo), "--model", str(model_yaml), "--project", str(tmp_path), *SMALL, "--save-minutes=1e-9"]


def to_group(starter: psutil.Process) -> None:
    os.killpg(starter.pid, signal.SIGINT)


def to_starter(starter: psutil.Process) -> None:
    starter.send_signal(signal.SIGTERM)


def to_second(starter: psutil.Process) -> None:
    next(rank for rank in starter.children() if rank.environ()["RANK"] == "1").send_signal(signal.SIGTERM)


DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
STARTING = f"""
import subprocess, sys
import moat_det.offline
from moat_det.engine.distributed import launch

start = subprocess.Popen
subprocess.Popen = lambda words, **settings: start([sys.executable, "-c", {DEAF!r}], **settings)
launch._TO_END = 1
print("begun", flush=True)
sys.exit(launch.launch(["train"], ["cpu", "cpu"]))
"""


def test_a_second_signal_ends_those_that_do_not_hear() -> None:
    started = begin(sys.executable, "-c", STARTING)
    starter = psutil.Process(started.pid)
    assert started.stdout is not None
    assert started.stdout.readline() == "begun\n"
    wait_until(lambda: len(starter.children()) == 2)
    time.sleep(2)  # until they are deaf
    for _ in range(2):
        assert started.poll() is None
        os.killpg(started.pid, signal.SIGTERM)
        time.sleep(1.5)
    assert started.wait(LONGEST) == 128 + signal.SIGKILL
    started.communicate()


@pytest.mark.parametrize(
    ("send", "code"), [(to_starter, 143), (to_second, 130)], ids=["to the starter", "to the second process"]
)
def test_all_end_after_the_same_batch(send: Sent, code: int, words: list[str], tmp_path: Path) -> None:
    said, ended = stop(begin(*MOAT, "train", *words, "--device", "cpu,cpu"), tmp_path / "train", send)
    assert ended == code
    assert "Traceback" not in said
    check_stopped(tmp_path / "train", said)


def test_after_ctrl_c_it_goes_on_as_if_nothing_had_been(words: list[str], tmp_path: Path) -> None:
    command = [*MOAT, "train", "--device", "cpu,cpu"]
    said, ended = stop(begin(*command, *words), tmp_path / "train", to_group)
    assert ended == 130
    check_stopped(tmp_path / "train", said)
    last = tmp_path / "train" / "weights" / "last.pt"
    for rest in (["--resume", last], [*words, "--name", "whole"]):
        goes_on = begin(*command, *rest)
        said = goes_on.communicate(timeout=LONGEST)[0]
        assert goes_on.returncode == 0, said
    expected = load_checkpoint(tmp_path / "whole" / "weights" / "last.pt").weights
    assert all(torch.equal(tensor, expected[name]) for name, tensor in load_checkpoint(last).weights.items())


STOPPING = """
import os, signal, sys
import moat_det.offline
from moat_det.cli import main
from moat_det.engine.trainer import Trainer

end = Trainer._end_batch

def end_and_stop(self):
    if self.position.batches == 1 and self.group.rank == 1 and os.environ["STOP"] == "yes":
        os.kill(os.getpid(), signal.SIGTERM)
    end(self)

Trainer._end_batch = end_and_stop
main.train(sys.argv[1:])
"""


def test_a_last_batch_too_small_for_statistics_has_those_that_a_checkpoint_keeps(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "train_and_stop.py"
    script.write_text(STOPPING)
    words[words.index("--batch") + 1] = "7"  # of 24 images: three remain for the last
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    command = [*TORCHRUN, script, "--device", "cpu"]
    last = tmp_path / "train" / "weights" / "last.pt"
    for stop, rest in (("yes", words), ("no", ["--resume", last]), ("no", [*words, "--name", "whole"])):
        monkeypatch.setenv("STOP", stop)
        said = begin(*command, *rest).communicate(timeout=LONGEST)[0]
        assert ("Stopped in epoch 1" in said) == (stop == "yes"), said
        if stop == "yes":
            assert load_checkpoint(last).training["position"]["batches"] == 2  # type: ignore[index]
    expected = load_checkpoint(tmp_path / "whole" / "weights" / "last.pt").weights
    assert all(torch.equal(tensor, expected[name]) for name, tensor in load_checkpoint(last).weights.items())


def test_processes_whose_starter_is_killed_end_with_a_checkpoint(words: list[str], tmp_path: Path) -> None:
    said, _ = stop(begin(*MOAT, "train", *words, "--device", "cpu,cpu"), tmp_path / "train", psutil.Process.kill)
    check_stopped(tmp_path / "train", said)


def test_torchrun_ends_them_and_those_that_read_images_with_a_checkpoint(words: list[str], tmp_path: Path) -> None:
    command = [*TORCHRUN, REPO / "train.py", *words, "--device", "cpu", "--workers", 1]
    said, _ = stop(begin(*command), tmp_path / "train", to_starter)
    check_stopped(tmp_path / "train", said)
