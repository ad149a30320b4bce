"""The loop: a run that goes on, steps without numbers, the folder, the learning rate."""

from __future__ import annotations

import copy
import errno
import math
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from ultralytics.utils.torch_utils import ModelEMA

from helpers.classes import SMALL
from moat_det.backbones import create_backbone
from moat_det.detector import precision
from moat_det.engine.recovery import disk
from moat_det.errors import UserError
from moat_det.pretraining import loop
from moat_det.pretraining.checkpoint import BackboneCheckpoint, load_backbone_checkpoint
from moat_det.pretraining.loop import Loop, seed_all
from moat_det.pretraining.options import LoopOptions, RunPlace
from moat_det.run_folder import hold_run

OPTIONS = LoopOptions(epochs=3, accumulate=2, lr0=1e-3, warmup_epochs=1, layer_decay=0.8)
BATCHES = 5
CPU = torch.device("cpu")


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = create_backbone(**SMALL)
        self.head = nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x)["stage5"].mean((2, 3)))


class Noise:
    """Tells noise from noise; `before` is called before each loss, with epoch and batch."""

    name, fitness, fresh = "noise", "score", True

    def __init__(self, before: Callable[[int, int], float] = lambda epoch, batch: 1.0) -> None:
        seed_all(0)
        self.model, self.training = Model(), {"kept": 1}
        self._before = before
        self.measured = 0

    def __len__(self) -> int:
        return BATCHES

    def batches(self, epoch: int, skip: int, device: torch.device) -> Iterator[tuple[Tensor, ...]]:
        for number in range(skip, BATCHES):
            generator = torch.Generator().manual_seed(100 * epoch + number)
            yield (
                torch.randn(4, 3, 32, 32, generator=generator),
                torch.tensor([0, 1, 0, 1]),
                torch.tensor([[epoch, number]] * 4),
            )

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        epoch, number = batch[2][0].tolist()
        return F.cross_entropy(model(batch[0]).float(), batch[1]) * self._before(epoch, number)

    def measure(self, model: nn.Module, device: torch.device, images: int) -> dict[str, float]:
        assert not model.training
        self.measured += 1
        self._before(self.measured - 1, -1)
        return {"score": float(model(torch.ones(1, 3, 32, 32)).sum())}

    def finish(self, model: nn.Module, folder: Path, device: torch.device, images: int) -> None:
        assert not model.training
        with torch.no_grad():
            model.head.bias.fill_(7)
        self._before(-1, -1)

    def about(self) -> dict[str, Any]:
        return {"backbone": SMALL, "imgsz": 32, "mean": (0.5,), "std": (0.5,), "settings": {}}


def train(folder: Path, task: Noise, last: Path | None = None, options: LoopOptions = OPTIONS) -> Path:
    resumed = None if last is None else (last, load_backbone_checkpoint(last, "noise"))
    loop = Loop(task, options, RunPlace(project=str(folder.parent), name=folder.name), CPU, resumed)
    loop.run()
    return loop.folder


def state(folder: Path) -> tuple[BackboneCheckpoint, bytes]:
    return load_backbone_checkpoint(folder / "weights" / "last.pt", "noise"), (folder / "results.csv").read_bytes()


def assert_alike(one: Path, other: Path) -> None:
    (first, rows), (second, other_rows) = state(one), state(other)
    assert rows == other_rows
    assert first.weights.keys() == second.weights.keys()
    assert all(torch.equal(first.weights[name], second.weights[name]) for name in first.weights)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was not stopped."""
    return train(tmp_path_factory.mktemp("runs") / "whole", Noise())


@pytest.mark.parametrize("place", [(0, 0), (1, 3), (1, 4), (1, -1), (2, 2), (-1, -1)], ids=str)
def test_a_stopped_run_goes_on_bit_for_bit(place: tuple[int, int], whole: Path, tmp_path: Path) -> None:
    def stop(epoch: int, batch: int) -> float:
        if (epoch, batch) == place:
            signal.raise_signal(signal.SIGINT)
        return 1.0

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", Noise(stop))
    last = tmp_path / "cut" / "weights" / "last.pt"
    assert load_backbone_checkpoint(last, "noise").training is not None
    train(tmp_path / "cut", Noise(), last)
    assert_alike(whole, tmp_path / "cut")


def test_ctrl_c_on_a_full_disk_ends_without_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    def stop(epoch: int, batch: int) -> float:
        if batch == 0:
            signal.raise_signal(signal.SIGINT)
        return 1.0

    def full(self: BackboneCheckpoint, path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(BackboneCheckpoint, "save", full)
    monkeypatch.setattr(disk, "_free", lambda folder: 0)
    monkeypatch.setattr(disk.time, "sleep", lambda seconds: pytest.fail("waits"))
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", Noise(stop))
    said = f"Stopped in epoch 1 without a new {tmp_path / 'run/weights/last.pt'}: {os.strerror(errno.ENOSPC)}"
    assert any(said in line for line in log)


def test_a_table_waits_for_room_too(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    write, tries, room = loop.atomic_write_csv, list[int](), iter([0, 0])

    def fill(path: Path, columns: list[str], rows: list[dict[str, float]]) -> None:
        tries.append(len(rows))
        if len(tries) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, columns, rows)

    monkeypatch.setattr(loop, "atomic_write_csv", fill)
    monkeypatch.setattr(disk, "_free", lambda folder: next(room, 10**9))
    monkeypatch.setattr(disk.time, "sleep", lambda seconds: None)
    train(tmp_path / "run", Noise())
    assert tries[:2] == [1, 1]
    assert any("there is room again" in line for line in log)
    assert_alike(whole, tmp_path / "run")


def test_a_checkpoint_among_other_files_is_no_run(tmp_path: Path) -> None:
    kept = train(tmp_path / "run", Noise(lambda epoch, batch: 1.0)) / "weights" / "last.pt"
    home = tmp_path / "home" / "weights"
    home.mkdir(parents=True)
    shutil.copy(kept, home)
    (tmp_path / "home" / "results.csv").write_text("the user's")
    with pytest.raises(UserError, match="lies in no run's folder"):
        train(tmp_path / "run", Noise(), home / "last.pt")
    assert (tmp_path / "home" / "results.csv").read_text() == "the user's"
    assert {file.name for file in (tmp_path / "home").iterdir()} == {"weights", "results.csv"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_in_a_script_the_signal_that_ends_a_process_leaves_a_checkpoint_too(whole: Path, tmp_path: Path) -> None:
    def stop(epoch: int, batch: int) -> float:
        if (epoch, batch) == (1, 2):
            signal.raise_signal(signal.SIGTERM)
        return 1.0

    with pytest.raises(SystemExit) as stopped:
        train(tmp_path / "cut", Noise(stop))
    assert stopped.value.code == 128 + signal.SIGTERM
    train(tmp_path / "cut", Noise(), tmp_path / "cut" / "weights" / "last.pt")
    assert_alike(whole, tmp_path / "cut")


def test_a_worker_that_is_killed_costs_no_batch(whole: Path, tmp_path: Path) -> None:
    def stop(epoch: int, batch: int) -> float:
        if (epoch, batch) == (1, -1):  # between two batches
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")
        return 1.0

    with pytest.raises(UserError, match="a process that reads images ended"):
        train(tmp_path / "cut", Noise(stop))
    train(tmp_path / "cut", Noise(), tmp_path / "cut" / "weights" / "last.pt")
    assert_alike(whole, tmp_path / "cut")


@pytest.mark.parametrize("keeps", [True, False])
def test_the_format_is_measured_once_and_kept(
    keeps: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    """On a copy of the model, and a run that goes on takes what was chosen without measuring."""
    monkeypatch.setattr(precision, "cpu_computes_bfloat16", lambda: True)
    monkeypatch.setattr(loop, "WORTH_IT", 4 * BATCHES * OPTIONS.epochs)
    seen: list[bool] = []
    stops = True

    def before(epoch: int, batch: int) -> float:
        seen.append(torch.is_autocast_enabled("cpu"))
        if stops and (epoch, batch) == (1, 2):
            signal.raise_signal(signal.SIGINT)
        return 1.0

    task = Noise(before)
    initial = {name: value.clone() for name, value in task.model.state_dict().items()}

    def measured(model: nn.Module, step: Any, reduced: torch.dtype, images: int) -> tuple[bool, str]:
        for dtype in (reduced, torch.float32):
            step(copy.deepcopy(model), dtype)
        assert (seen, images) == ([True, False], 4)
        assert all(torch.equal(initial[name], value) for name, value in task.model.state_dict().items())
        seen.clear()
        return keeps, "said"

    monkeypatch.setattr(loop, "time_formats", measured)
    options = replace(OPTIONS, batch=4)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", task, options=options)
    assert "said" in log
    monkeypatch.setattr(loop, "time_formats", lambda *_: pytest.fail("measured"))
    stops = False
    train(tmp_path / "run", Noise(before), tmp_path / "run" / "weights" / "last.pt", options)
    trained = seen[:-1]  # the last is what comes after the end
    assert len(trained) > BATCHES
    assert set(trained) == {keeps}


def test_what_a_finished_run_leaves(whole: Path) -> None:
    folder = whole
    rows = [line.split(",") for line in (folder / "results.csv").read_text().splitlines()]
    assert rows[0] == ["epoch", "loss", "lr", "score"]
    assert [row[0] for row in rows[1:]] == ["1", "2", "3"]
    content = torch.load(folder / "weights" / "best.pt", weights_only=True)
    assert content["format"] == "moat_det pretraining 1"
    assert (content["training"], content["task"], content["imgsz"]) == (None, "noise", 32)
    best = max(range(1, 4), key=lambda row: float(rows[row][3]))
    assert content["metrics"]["score"] == float(rows[best][3])
    assert content["weights"]["head.bias"].tolist() == [7, 7]  # what `finish` did to it


def test_what_a_killed_run_left_half_written_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "run" / "weights" / ".last-abcd_123.pt"
    left.parent.mkdir(parents=True)
    left.touch()
    hold_run(tmp_path / "run").release()
    assert not left.exists()


def test_a_step_without_numbers_is_left_out(tmp_path: Path, log: list[str]) -> None:
    folder = train(tmp_path / "run", Noise(lambda epoch, batch: math.nan if (epoch, batch) == (1, 2) else 1.0))
    assert sum("the step is left out" in line for line in log) == 1
    assert all(tensor.isfinite().all() for tensor in state(folder)[0].weights.values())


def test_several_in_a_row_end_the_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no number in 5 steps in a row, in epoch 3: lower --lr0"):
        train(tmp_path / "run", Noise(lambda epoch, batch: math.nan if epoch else 1.0))


FULL = "CUDA out of memory. Tried to allocate 2 GiB"


class Greedy(Noise):
    """Has memory for so many images of a pass, from one batch on."""

    def __init__(self, room: int, since: tuple[int, int] = (0, 0)) -> None:
        super().__init__()
        self.room, self.since = room, since
        self.seen: list[tuple[tuple[int, int], int]] = []

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        place = tuple(batch[2][0].tolist())
        self._take(place, len(batch[0]))
        return super().loss(model, batch)

    def measure(self, model: nn.Module, device: torch.device, images: int) -> dict[str, float]:
        self._take((self.measured, -1), images)
        return super().measure(model, device, images)

    def _take(self, place: tuple[int, int], images: int) -> None:
        if images > self.room and place >= self.since:
            raise RuntimeError(FULL)
        self.seen.append((place, images))


def test_where_the_memory_is_full_passes_halve_and_a_step_stays(
    tmp_path: Path, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(OPTIONS, batch=4)
    steps: list[int] = []
    task = Greedy(room=2, since=(1, 1))
    update = ModelEMA.update

    def count(self: ModelEMA, model: nn.Module) -> None:
        steps.append(len(task.seen))
        update(self, model)

    monkeypatch.setattr(ModelEMA, "update", count)
    folder = train(tmp_path / "run", task, options=options)
    assert len(steps) == 3 * 3
    assert [each for each in task.seen if each[0] == (1, 0)] == [((1, 0), 4), ((1, 0), 2), ((1, 0), 2)]
    assert [each for each in task.seen if each[0] == (1, 1)] == [((1, 1), 2)] * 2
    assert [images for place, images in task.seen if place > (1, 1) and place[1] >= 0] == [2] * (3 + 5) * 2
    assert sum("Out of memory with passes of 4 images: from here on they are of 2" in line for line in log) == 1
    assert len((folder / "results.csv").read_text().splitlines()) == 1 + 3


def test_what_fitted_of_a_step_that_did_not_counts_once_in_the_statistics(tmp_path: Path) -> None:
    task = Greedy(room=2, since=(0, 1))
    loop = Loop(task, replace(OPTIONS, batch=4, accumulate=2, amp=False), RunPlace(project=str(tmp_path)), CPU)
    loop._start_epoch()
    before = [buffer.clone() for norm in loop._norms for buffer in norm.buffers()]
    loop._step(list(task.batches(0, 0, CPU))[:2])
    loop._lock.release()
    assert task.seen == [((0, 0), 4), *[((0, 0), 2)] * 2, *[((0, 1), 2)] * 2]
    # The halves are too few for statistics, so all that could move them is the pass of four.
    assert all(map(torch.equal, before, [buffer for norm in loop._norms for buffer in norm.buffers()]))


def test_two_halves_have_the_gradient_of_the_whole(tmp_path: Path) -> None:
    def gradients(room: int) -> list[Tensor]:
        task = Greedy(room)
        loop = Loop(task, replace(OPTIONS, batch=4, amp=False), RunPlace(project=str(tmp_path)), CPU)
        loop._model.eval()  # so that statistics of batches make no difference
        loop._norms = []
        loop._passes.fit(lambda images: loop._compute_gradients(list(task.batches(0, 0, CPU))[:2], images))
        loop._lock.release()
        return [each.grad.double() for each in task.model.parameters() if each.grad is not None]

    whole, halves = gradients(4), gradients(2)
    assert len(whole) == len(halves) > 20
    for one, other in zip(whole, halves, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_a_run_that_goes_on_keeps_the_passes_that_fitted(tmp_path: Path, log: list[str]) -> None:
    task = Greedy(room=2)
    measure = task.measure

    def stop(*words: Any) -> dict[str, float]:
        signal.raise_signal(signal.SIGINT)
        return measure(*words)

    task.measure = stop  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", task, options=replace(OPTIONS, batch=4))
    log.clear()
    resumed = Greedy(room=2)
    train(tmp_path / "run", resumed, tmp_path / "run" / "weights" / "last.pt", replace(OPTIONS, batch=4))
    assert {images for _, images in resumed.seen} == {2}
    assert not [line for line in log if "Out of memory" in line]


def test_a_single_image_that_does_not_fit_ends_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not even one image at a time fits into the memory \(CUDA out of memory"):
        train(tmp_path / "run", Greedy(room=0))
    assert not (tmp_path / "run").exists()


def test_two_runs_share_no_folder(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    lock = hold_run(tmp_path / "run")
    place = RunPlace(project=str(tmp_path), name="run", exist_ok=True)
    with pytest.raises(UserError, match="another training is at work"):
        Loop(Noise(), OPTIONS, place, CPU)
    lock.release()
    assert Loop(Noise(), OPTIONS, replace(place, exist_ok=False), CPU).folder.name == "run-2"


def test_a_run_that_fails_at_once_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        train(tmp_path / "run", Noise(lambda epoch, batch: math.nan), options=replace(OPTIONS, epochs=9))
    # an epoch has three steps, so that the fifth is in the second
    assert (tmp_path / "run" / "weights" / "last.pt").exists()
    with pytest.raises(ZeroDivisionError):
        train(tmp_path / "other", Noise(lambda epoch, batch: 1 / 0))
    assert not (tmp_path / "other").exists()


def test_the_rate_rises_and_falls_and_follows_the_layers(tmp_path: Path) -> None:
    rates: list[list[float]] = []
    task = Noise()
    loop = Loop(task, OPTIONS, RunPlace(project=str(tmp_path)), CPU)
    task._before = lambda epoch, batch: (
        rates.append([g["lr"] for g in loop._optimizer.param_groups]) if batch in {0, 2, 4} else None,
        1.0,
    )[1]
    loop.run()
    head = [step[0] for step in rates]
    assert head[:3] == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3])
    assert head[3] == pytest.approx(1e-3)
    assert head[3:] == sorted(head[3:], reverse=True)
    assert all(step[2] == pytest.approx(0.8 * step[0]) for step in rates)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "--epochs 0: must be 1 or more"),
        ({"lr0": 0}, "--lr0 0: must be above 0"),
        ({"layer_decay": 1.5}, "--layer-decay 1.5: must be above 0, at most 1"),
        ({"ema": 1}, "--ema 1: must be 0 or more, below 1"),
        ({"warmup_epochs": 200}, "--warmup-epochs 200: must be 0 or more, at most 100"),
    ],
)
def test_options_out_of_range(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        LoopOptions(**values)
