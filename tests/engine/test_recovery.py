"""What stops or spoils a training costs no more than it must: see `engine/recovery/`."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from ultralytics.models.yolo.detect import DetectionTrainer

from moat_det.cli import main as cli
from moat_det.detector.detector import Detector
from moat_det.engine import MOAT, batch_plots
from moat_det.engine import trainer as trainer_module
from moat_det.engine.checkpoint import Checkpoint, load_checkpoint, newest_run
from moat_det.engine.distributed.group import ALONE, TIMEOUT, Group
from moat_det.engine.recovery import disk
from moat_det.engine.recovery import signals as signals_module
from moat_det.engine.recovery.disk import longest_wait, when_there_is_room
from moat_det.engine.recovery.memory import is_out_of_memory
from moat_det.engine.recovery.random_states import random_states, set_random_states
from moat_det.engine.recovery.signals import Signals
from moat_det.engine.run_checkpoints import strip
from moat_det.engine.trainer import Trainer
from moat_det.errors import UserError
from moat_det.run_folder import hold_run

SMALL = ["--imgsz", "64", "--batch", "8", "--plots", "false", "--workers", "0"]
BATCHES = 3  # of an epoch: 24 images


@pytest.fixture
def words(demo: Path, model_yaml: Path, tmp_path: Path) -> list[str]:
    given = ["--data", str(demo), "--model", str(model_yaml), "--epochs", "2", "--project", str(tmp_path)]
    return [*given, *SMALL]


@pytest.fixture
def at_batch(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Trainer, int], None]], list[int]]:
    """Do something before the pass of each batch, of which the number from 0 in the run is told."""

    def install(action: Callable[[Trainer, int], None]) -> list[int]:
        preprocess, seen = Trainer.preprocess_batch, []

        def before(self: Trainer, batch: dict[str, Any]) -> dict[str, Any]:
            batch = preprocess(self, batch)
            if "passed" not in batch:
                seen.append(len(batch["img"]))
                action(self, len(seen) - 1)
            return batch

        monkeypatch.setattr(Trainer, "preprocess_batch", before)
        return seen

    return install


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(run / "weights" / "last.pt").weights


def rows(run: Path) -> list[list[str]]:
    """The rows of results.csv without the time."""
    return [[row.split(",")[0], *row.split(",")[2:]] for row in (run / "results.csv").read_text().splitlines()]


def spoil(detector: Detector, gradient: float) -> None:
    """Let the next pass end in a gradient that is no number."""
    parameter = next(detector.parameters())
    handle = parameter.register_hook(lambda found: (handle.remove(), found * gradient)[1])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_step_without_a_number_is_left_out(
    value: float, words: list[str], at_batch: Any, tmp_path: Path, log: list[str]
) -> None:
    at_batch(lambda trainer, number: spoil(trainer.model, value) if number in {1, 4} else None)
    cli.train([*words, "--debug"])
    assert sum("the step is left out" in line for line in log) == 2
    assert "2 so far" in "\n".join(log)
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path / "train").values())
    assert len(rows(tmp_path / "train")) == 1 + 2


def test_after_several_the_run_goes_back_with_half_the_rate(
    words: list[str], at_batch: Any, tmp_path: Path, log: list[str]
) -> None:
    words[words.index("--epochs") + 1] = "4"
    at_batch(lambda trainer, number: spoil(trainer.model, float("nan")) if 4 <= number < 9 else None)
    rates = []
    save = Trainer.save_model

    def note(self: Trainer) -> bool:
        rates.append(self.optimizer.param_groups[0]["initial_lr"])
        return save(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "save_model", note)
        cli.train([*words, "--debug"])
    assert any("the learning rate is half" in line for line in log)
    assert rates[-1] == rates[0] / 2
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path / "train").values())


def test_without_a_checkpoint_it_ends_in_one_line(
    words: list[str], at_batch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    at_batch(lambda trainer, number: spoil(trainer.model, float("nan")))
    words[words.index("--batch") + 1] = "4"  # six batches
    with pytest.raises(SystemExit) as stopped:
        cli.train(words)
    assert stopped.value.code == 2
    assert "in 5 steps in a row, in epoch 1: lower --lr0" in capsys.readouterr().err


def test_where_the_fitness_is_no_number_the_epoch_is_done_again_with_half_the_rate(
    words: list[str], at_batch: Any, tmp_path: Path, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    validate, rates = Trainer.validate, []

    def spoilt(self: Trainer) -> tuple[Any, float]:
        metrics, fitness = validate(self)
        rates.append(self.optimizer.param_groups[0]["initial_lr"])
        return metrics, float("nan") if len(rates) == 2 else fitness

    monkeypatch.setattr(Trainer, "validate", spoilt)
    seen = at_batch(lambda trainer, number: None)
    cli.train([*words, "--debug"])
    assert rates == [rates[0], rates[0], rates[0] / 2]
    assert len(seen) == 3 * BATCHES
    assert any("the fitness was no number; the weights are those of" in line for line in log)
    assert len(rows(tmp_path / "train")) == 1 + 2
    assert load_checkpoint(tmp_path / "train/weights/last.pt").args["epochs"] == 2


def test_a_resumed_run_does_not_go_back_for_ever(
    words: list[str], at_batch: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words[words.index("--batch") + 1] = "1"  # 24 batches
    last = tmp_path / "train" / "weights" / "last.pt"
    rates: list[float] = []

    def note(trainer: Trainer, number: int) -> None:
        rates.append(trainer.optimizer.param_groups[0]["initial_lr"])
        if trainer.epoch:
            spoil(trainer.model, float("nan"))

    seen = at_batch(note)
    with pytest.raises(SystemExit):
        cli.train(words)
    assert len(seen) == 24 + 4 * 5
    assert load_checkpoint(last).training["steps"]["returns"] == 3  # type: ignore[index]
    seen.clear()
    with pytest.raises(SystemExit) as ended:
        cli.train(["--resume", str(last)])
    assert ended.value.code == 2
    assert len(seen) == 5
    assert rates[-1] == rates[0] / 8
    assert "in 5 steps in a row, in epoch 2: lower --lr0" in capsys.readouterr().err


def test_what_is_read_to_go_on_from_is_what_the_lock_protects(
    words: list[str], at_batch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_batch(lambda trainer, number: os.kill(os.getpid(), signal.SIGTERM) if number == 1 else None)
    with pytest.raises(SystemExit):
        cli.train(words)
    last = tmp_path / "train" / "weights" / "last.pt"
    hold = trainer_module.hold_run

    def end_another(folder: Path) -> Any:
        lock = hold(folder)
        strip(last, 0)  # as a training that has just ended does
        return lock

    monkeypatch.setattr(trainer_module, "hold_run", end_another)
    with pytest.raises(UserError, match="of a finished training"):
        MOAT().train(resume=str(last))


@pytest.mark.parametrize("ended", [True, False], ids=["finished", "cut"])
def test_a_checkpoint_of_another_run_is_none_to_go_back_to(
    ended: bool, words: list[str], at_batch: Any, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = tmp_path / "train" / "weights" / "last.pt"
    checkpoint = load_checkpoint(trained / "weights" / "last.pt")
    replace(checkpoint, training=None if ended else {"epoch": 0, "weights": checkpoint.weights}).save(last)
    before = last.read_bytes()
    at_batch(lambda trainer, number: spoil(trainer.model, float("nan")))
    words[words.index("--batch") + 1] = "4"
    with pytest.raises(SystemExit) as stopped:
        cli.train([*words, "--exist-ok"])
    assert stopped.value.code == 2
    assert "in 5 steps in a row, in epoch 1: lower --lr0" in capsys.readouterr().err
    assert last.read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_a_resumed_run_goes_back_to_what_it_goes_on_from_and_averages_as_before(
    words: list[str], at_batch: Any, tmp_path: Path, log: list[str]
) -> None:
    words[words.index("--batch") + 1] = "2"  # twelve batches
    at_batch(lambda trainer, number: os.kill(os.getpid(), signal.SIGTERM) if number == 0 else None)
    with pytest.raises(SystemExit):
        cli.train([*words, "--ema", "0"])
    decays: list[float] = []

    def spoil_five(trainer: Trainer, number: int) -> None:
        decays.append(trainer.ema.decay(1000))
        if number < 5:
            spoil(trainer.model, float("nan"))

    at_batch(spoil_five)
    last = tmp_path / "train" / "weights" / "last.pt"
    cli.train(["--resume", str(last), "--debug"])
    assert any(f"the weights are those of {last} again" in line for line in log)
    assert decays == [0.0] * 23


CUDA_FULL = "CUDA out of memory. Tried to allocate 2 GiB"
CPU_FULL = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"


@pytest.mark.parametrize(
    ("message", "full"),
    [(CUDA_FULL, 1), (CPU_FULL, 1), (CUDA_FULL, 4)],
    ids=["of a GPU", "of a CPU", "in the second epoch"],
)
def test_where_the_memory_is_full_the_batch_halves_and_a_step_stays(
    message: str, full: int, words: list[str], at_batch: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    steps: list[int] = []
    images: list[int] = []
    step = Trainer.optimizer_step

    def fill(trainer: Trainer, number: int) -> None:
        if number == full:
            raise RuntimeError(message)

    def count(self: Trainer) -> None:
        steps.append(sum(images))
        images.clear()
        step(self)

    def note(trainer: Trainer, number: int) -> None:
        fill(trainer, number)
        images.append(seen[number])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "optimizer_step", count)
        seen = at_batch(note)
        cli.train([*words, "--debug"])
    assert seen[:full] == [8] * full
    assert set(seen[full + 1 :]) == {4}
    assert set(steps) == {8}
    assert len(rows(tmp_path / "train")) == 1 + 2
    where = tmp_path / "train/weights/last.pt" if full > BATCHES else "the beginning"
    assert f"the training goes on from {where} with batches of 4" in caplog.text
    assert load_checkpoint(tmp_path / "train/weights/last.pt").args["batch"] == 4


def test_a_single_image_that_fills_the_memory_ends_the_training(
    words: list[str], at_batch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def fill(trainer: Trainer, number: int) -> None:
        assert number == 0, "it is tried again"
        raise RuntimeError(CUDA_FULL)

    at_batch(fill)
    with pytest.raises(SystemExit):
        cli.train([*words, "--fraction", "0.01"])
    assert "out of memory" in capsys.readouterr().err


def test_where_the_memory_is_full_a_step_has_no_more_images_than_an_epoch(
    words: list[str], at_batch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(trainer: Trainer, number: int) -> None:
        if number == 0:
            raise RuntimeError(CUDA_FULL)

    steps, step = [], Trainer.optimizer_step
    monkeypatch.setattr(Trainer, "optimizer_step", lambda self: (steps.append(len(seen)), step(self)))
    seen = at_batch(fill)
    words[words.index("--batch") + 1] = "64"
    cli.train([*words, "--debug"])
    assert seen == [24, 12, 12, 12, 12]  # of which the first was too many
    assert steps == [3, 5]


def test_where_the_memory_is_full_what_waited_for_its_step_in_larger_batches_is_left(
    words: list[str], at_batch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(trainer: Trainer, number: int) -> None:
        if number == BATCHES:
            raise RuntimeError(CUDA_FULL)

    images, step = [0], Trainer.optimizer_step
    monkeypatch.setattr(Trainer, "optimizer_step", lambda self: (images.append(sum(seen)), step(self)))
    seen = at_batch(fill)
    cli.train([*words, "--nbs", "16", "--warmup-epochs", "0", "--debug"])
    # After the first epoch 8 images wait; of the 8 too many none is in a step.
    assert [after - before for before, after in pairwise(images)] == [16, 16 + 8 + 8]


def test_where_the_memory_is_full_after_the_last_epoch_there_is_none_more(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, final = [], Trainer.final_eval

    def fill(self: Trainer) -> None:
        calls.append(self.batch_size)
        if len(calls) == 1:
            raise RuntimeError(CUDA_FULL)
        final(self)

    monkeypatch.setattr(Trainer, "final_eval", fill)
    cli.train([*words, "--debug"])
    assert calls == [8, 4]
    assert len(rows(tmp_path / "train")) == 1 + 2
    assert load_checkpoint(tmp_path / "train/weights/last.pt").training is None


def test_where_the_memory_is_full_and_a_signal_comes_then_there_is_nothing_to_save(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, held = Trainer._setup_train, []

    def fill(self: Trainer) -> None:
        raise RuntimeError(CUDA_FULL)

    def stop(self: Trainer) -> None:
        if held:
            held.extend([self.train_loader, self.test_loader, self.validator])
            raise SystemExit(143)
        held.append(None)
        setup(self)

    monkeypatch.setattr(Trainer, "validate", fill)
    monkeypatch.setattr(Trainer, "_setup_train", stop)
    with pytest.raises(SystemExit):
        cli.train([*words, "--debug"])
    assert held == [None] * 4  # nor does what was loaded before stay in the memory
    assert not (tmp_path / "train/weights/last.pt").exists()


def test_the_batch_after_which_the_time_runs_out_counts(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ended, end = [], Trainer._end_batches

    def note(self: Trainer) -> None:
        end(self)
        ended.append((self.position.batches, self.position.amid_batch))

    monkeypatch.setattr(Trainer, "_end_batches", note)
    cli.train([*words, "--time", "1e-6", "--debug"])
    assert ended == [(1, False)]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_the_time_of_a_resumed_run_is_that_of_all_its_epochs(words: list[str], at_batch: Any, tmp_path: Path) -> None:
    estimates: list[int] = []

    def stop(trainer: Trainer, number: int) -> None:
        if number == BATCHES:
            estimates.append(trainer.epochs)
            os.kill(os.getpid(), signal.SIGTERM)

    at_batch(stop)
    with pytest.raises(SystemExit):
        cli.train([*words, "--time", "1", "--save-period", "1"])
    whole = load_checkpoint(tmp_path / "train/weights/epoch1.pt")
    # A run that is killed now has its schedule; the writing of the checkpoint itself is not in it.
    assert 2 < estimates[0] <= whole.args["epochs"] < 10 * estimates[0]
    last = tmp_path / "train/weights/last.pt"
    kept = {name: getattr(load_checkpoint(last), name) for name in Checkpoint.__dataclass_fields__}
    assert 0 < kept["training"]["seconds"] < 600
    Checkpoint(**{**kept, "training": {**kept["training"], "seconds": 2700.0}}).save(last)
    epochs: list[int] = []

    def note(trainer: Trainer, number: int) -> None:
        if trainer.epoch == 2:  # the second took 45 minutes with the first: the hour has room for a third
            epochs.append(trainer.epochs)
            os.kill(os.getpid(), signal.SIGTERM)

    at_batch(note)
    with pytest.raises(SystemExit):
        cli.train(["--resume", str(last)])
    assert epochs == [3]
    assert load_checkpoint(last).training["seconds"] > 2700  # type: ignore[index]


def test_a_batch_that_fills_the_memory_is_found_where_a_launcher_started_one_process_too(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = Trainer._setup_train

    def launched(self: Trainer) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("ultralytics.engine.trainer.RANK", 0)
            setup(self)

    monkeypatch.setattr(Trainer, "_setup_train", launched)
    monkeypatch.setattr(Trainer, "auto_batch", lambda self: 6)
    words[words.index("--batch") + 1] = "-1"
    cli.train([*words, "--debug"])
    assert load_checkpoint(tmp_path / "train/weights/last.pt").args["batch"] == 6


def test_a_process_goes_on_with_the_generator_of_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    own = torch.arange(16, dtype=torch.uint8)
    taken: list[torch.Tensor] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: own)
    monkeypatch.setattr(torch.cuda, "set_rng_state", taken.append)
    set_random_states(random_states())
    assert taken == [own]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_a_signal_that_another_process_got_before_is_the_same_one() -> None:
    class Agreed(Group):
        def any(self, value: bool) -> bool:
            return True

    signals = Signals(Agreed(0, 2))
    with signals.taken():
        signals.hold()
        with pytest.raises(KeyboardInterrupt):
            signals.release(amid=True)
        os.kill(os.getpid(), signal.SIGTERM)  # while the checkpoint is written


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_where_the_memory_is_full_a_resumed_run_goes_back(words: list[str], at_batch: Any, tmp_path: Path) -> None:
    at_batch(lambda trainer, number: os.kill(os.getpid(), signal.SIGTERM) if number == 0 else None)
    with pytest.raises(SystemExit):
        cli.train(words)
    last = tmp_path / "train" / "weights" / "last.pt"
    before = load_checkpoint(last).training["weights"]  # type: ignore[index]
    equal: list[bool] = []

    def fill(trainer: Trainer, number: int) -> None:
        now = trainer.model.state_dict()
        equal.append(all(torch.equal(tensor, before[name]) for name, tensor in now.items()))
        if number == 1:
            raise RuntimeError(CUDA_FULL)

    at_batch(fill)
    cli.train(["--resume", str(last), "--debug"])
    assert equal[:4] == [True, False, True, False]


def test_what_is_no_lack_of_memory_ends_the_training(words: list[str], at_batch: Any) -> None:
    def fail(trainer: Trainer, number: int) -> None:
        raise RuntimeError("shapes differ")

    at_batch(fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        cli.train([*words, "--debug"])
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("could not create a primitive"))
    assert not is_out_of_memory(RuntimeError("could not create a primitive descriptor for a convolution"))
    assert not is_out_of_memory(ValueError("out of memory"))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"))


def test_a_full_disk_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: list[str]) -> None:
    room = iter([0, 0, 0, 10, 200, 200])
    monkeypatch.setattr(disk, "_free", lambda folder: next(room))
    slept: list[float] = []
    monkeypatch.setattr(disk.time, "sleep", slept.append)
    tries = []

    def write() -> None:
        tries.append(None)
        if len(tries) == 1:
            raise OSError(errno.ENOSPC, "full")

    when_there_is_room(write, tmp_path, 100)
    assert len(tries) == 2
    assert len(slept) == 3
    assert sum("the disk is full" in line for line in log) == 1
    assert "there is room again" in log[-1]


def test_the_first_row_is_whole_after_a_full_disk(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    save, tries = DetectionTrainer.save_metrics, []

    def fill(self: DetectionTrainer, metrics: dict[str, float]) -> None:
        tries.append(self.epoch)
        if len(tries) == 1:
            self.csv.write_text("epoch,ti")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(self, metrics)

    room = iter([0, 0])
    monkeypatch.setattr(disk, "_free", lambda folder: next(room, 10**9))
    monkeypatch.setattr(disk.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(DetectionTrainer, "save_metrics", fill)
    cli.train([*words, "--debug"])
    assert tries == [0, 0, 1]
    header, *others = rows(tmp_path / "train")
    assert header[0] == "epoch"
    assert [row[0] for row in others] == ["1", "2"]
    assert {len(row) for row in others} == {len(header)}


@pytest.mark.parametrize(("code", "free"), [(errno.ENOSPC, 1000), (errno.EACCES, 0)])
def test_what_waiting_does_not_help_ends(code: int, free: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_free", lambda folder: free)
    monkeypatch.setattr(disk.time, "sleep", lambda seconds: None)

    def write() -> None:
        raise OSError(code, os.strerror(code))

    with pytest.raises(OSError, match=os.strerror(code)):
        when_there_is_room(write, tmp_path, 100)


def test_room_that_another_took_and_gave_back_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_free", lambda folder: 1000)
    monkeypatch.setattr(disk.time, "sleep", lambda seconds: None)
    tries: list[None] = []

    def write() -> None:
        tries.append(None)
        if len(tries) < 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    when_there_is_room(write, tmp_path, 100)
    tries.clear()
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        when_there_is_room(write, tmp_path, 100, longest=0)
    assert len(tries) == 1


def test_the_room_that_a_checkpoint_asks_for_is_enough(trained: Path, tmp_path: Path) -> None:
    whole = load_checkpoint(trained / "weights" / "last.pt")
    for checkpoint in (whole, replace(whole, training={"again": whole.weights})):
        checkpoint.save(tmp_path / "last.pt")
        assert 0 <= checkpoint.size - (tmp_path / "last.pt").stat().st_size < 2 * 2**20


def test_others_have_not_given_up_who_waits_for_room() -> None:
    assert longest_wait(ALONE) == disk.LONGEST
    assert longest_wait(Group(size=2)) < TIMEOUT.total_seconds()


def test_all_writes_of_an_epoch_wait_together_no_longer_than_one(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    write = when_there_is_room

    def note(do: Callable[[], None], folder: Path, size: int, longest: float) -> None:
        waits.append(longest)
        write(do, folder, size, longest)

    monkeypatch.setattr(trainer_module, "when_there_is_room", note)
    monkeypatch.setattr("moat_det.engine.run_checkpoints.when_there_is_room", note)
    words[words.index("--epochs") + 1] = "1"
    cli.train([*words, "--save-period", "1", "--debug"])
    of_epoch = waits[:4]  # its row, best.pt, epoch1.pt, last.pt; then the two that are made fit for use
    assert sorted(of_epoch, reverse=True) == of_epoch
    assert all(0 < wait < disk.LONGEST for wait in of_epoch)


def test_ctrl_c_does_not_wait_for_room(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    slept: list[float] = []

    def full(self: Checkpoint, path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def interrupt(seconds: float) -> None:
        slept.append(seconds)
        raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "save", full)
    monkeypatch.setattr(disk, "_free", lambda folder: 0)
    monkeypatch.setattr(disk.time, "sleep", interrupt)
    with pytest.raises(SystemExit) as stopped:
        cli.train(words)
    assert stopped.value.code == 130
    assert len(slept) == 1
    last = tmp_path / "train" / "weights" / "last.pt"
    assert any(f"Stopped in epoch 1 without a new {last}: {os.strerror(errno.ENOSPC)}" in line for line in log)


def test_a_picture_without_room_is_left_out(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(batch_plots, "plot_images", full)
    for name in ("plot_training_labels", "plot_metrics"):
        monkeypatch.setattr(DetectionTrainer, name, full)
    monkeypatch.setattr(Trainer, "final_eval", lambda self: None)  # which draws too, when all else is done
    words[words.index("--plots") + 1] = "true"
    cli.train([*words, "--debug"])
    run = tmp_path / "train"
    assert len(rows(run)) == 1 + 2
    for name in ("labels.jpg", "train_batch0.jpg", "results.png"):
        assert any(f"{run / name} is left out: {os.strerror(errno.ENOSPC)}" in line for line in log)


MORE = ("--nbs", "16", "--multi-scale", "0.5", "--rect")
GROWING = ("--progressive", "0.5", "--ema", "0.99", "--ema-tau", "3")


@pytest.fixture(scope="module")
def whole(demo: Path, model_yaml: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The run that nothing has stopped, with more options."""

    @cache
    def train(*more: str) -> Path:
        project = tmp_path_factory.mktemp("whole")
        given = ["--data", str(demo), "--model", str(model_yaml), "--epochs", "2", "--project", str(project)]
        cli.train([*given, *SMALL, *more, "--debug"])
        return project / "train"

    return train


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 250 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=250m", "tmpfs", folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nothing may be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_nothing_is_lost_where_a_disk_fills(
    words: list[str], whole: Callable[..., Path], small_disk: Path, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    expected, filler, full_before = whole(), small_disk / "filler", [0]
    size = load_checkpoint(expected / "weights" / "last.pt").size  # of a finished run

    def full() -> int:
        return sum("the disk is full" in line for line in log)

    def fill(left: int) -> None:
        full_before.append(full())
        if room := shutil.disk_usage(small_disk).free - left:
            with filler.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, room)

    def make_room(seconds: float) -> None:
        if full() > full_before[-1]:  # other threads sleep too
            filler.unlink(missing_ok=True)

    def filling(name: str, *left: int) -> None:
        do, amounts = getattr(Trainer, name), iter(left)

        def fill_and_do(self: Trainer, **given: Any) -> Any:
            fill(next(amounts))
            return do(self, **given)

        monkeypatch.setattr(Trainer, name, fill_and_do)

    filling("save_metrics", 0, 2 * size)
    filling("final_eval", size // 2)
    monkeypatch.setattr(disk.time, "sleep", make_room)
    words[words.index("--project") + 1] = str(small_disk)
    cli.train([*words, "--debug"])
    assert full() == 3  # the row, a checkpoint, the best one without what only resuming needs
    check_equal(expected, small_disk / "train")
    assert not list((small_disk / "train" / "weights").glob(".*"))


def check_equal(whole: Path, cut: Path) -> None:
    resumed = weights(cut)
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in weights(whole).items())
    assert rows(whole) == rows(cut)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize(
    ("stop", "more"),
    [(1, ()), (1, GROWING), (BATCHES, MORE), (2 * BATCHES, MORE)],
    ids=["in the first epoch", "where images are small", "in the second", "in its validation"],
)
def test_a_run_that_is_stopped_amid_an_epoch_ends_as_the_uncut_one(
    stop: int, more: tuple[str, ...], words: list[str], whole: Callable[..., Path], at_batch: Any, tmp_path: Path
) -> None:
    expected, validate = whole(*more), Trainer.validate

    def interrupted(self: Trainer) -> Any:
        if stop == 2 * BATCHES and self.epoch == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return validate(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "validate", interrupted)
        at_batch(lambda trainer, number: os.kill(os.getpid(), signal.SIGTERM) if number == stop else None)
        with pytest.raises(SystemExit) as stopped:
            cli.train([*words, *more])
    assert stopped.value.code == 128 + signal.SIGTERM
    last = tmp_path / "train/weights/last.pt"
    position = load_checkpoint(last).training["position"]  # type: ignore[index]
    assert position["batches"] == (BATCHES if stop == 2 * BATCHES else stop % BATCHES + 1)

    seen = at_batch(lambda trainer, number: None)
    cli.train(["--resume", str(last), "--debug"])
    assert len(seen) == (0 if stop == 2 * BATCHES else 2 * BATCHES - 1 - stop)
    check_equal(expected, tmp_path / "train")


def test_a_killed_run_goes_on_from_the_checkpoint_of_the_last_minutes(
    words: list[str], whole: Callable[..., Path], at_batch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """What nothing writes a checkpoint for."""

    def kill(trainer: Trainer, number: int) -> None:
        if number == 2:
            raise Killed

    at_batch(kill)
    with pytest.raises(Killed):
        cli.train([*words, "--save-minutes", "1e-9", "--debug"])
    monkeypatch.undo()
    cli.train(["--resume", "--project", str(tmp_path), "--debug"])
    check_equal(whole(), tmp_path / "train")


def test_a_signal_waits_for_the_batch_and_a_second_one_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    class Asked(KeyboardInterrupt):
        pass

    def ask(number: int, frame: Any) -> None:
        raise Asked

    before = signal.signal(signal.SIGINT, ask)
    try:
        signals = Signals()
        with signals.taken():
            signals.hold()
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)  # as a terminal that is closed sends it
            with pytest.raises(Asked):
                signals.release()
            signal.raise_signal(signal.SIGINT)
            monkeypatch.setattr(signals_module, "TOGETHER", 0)
            signals.hold()
            signal.raise_signal(signal.SIGINT)
            with pytest.raises(Asked):
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is ask
    finally:
        signal.signal(signal.SIGINT, before)


def with_a_worker(words: list[str]) -> list[str]:
    at = words.index("--workers") + 1
    return [*words[:at], "1", *words[at + 1 :]]


def kill_workers() -> None:
    workers = multiprocessing.active_children()
    assert workers
    for worker in workers:
        worker.kill()
        os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)  # torch is to find it


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_a_signal_that_ends_the_workers_too_amid_a_batch_leaves_a_checkpoint(
    words: list[str], at_batch: Any, tmp_path: Path
) -> None:
    def end_all(trainer: Trainer, number: int) -> None:
        if number == 0:
            kill_workers()
            os.kill(os.getpid(), signal.SIGTERM)

    at_batch(end_all)
    with pytest.raises(SystemExit) as stopped:
        cli.train(with_a_worker(words))
    assert stopped.value.code == 128 + signal.SIGTERM
    position = load_checkpoint(tmp_path / "train/weights/last.pt").training["position"]  # type: ignore[index]
    assert position["batches"] == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_workers_that_die_while_the_checkpoint_of_a_stop_is_written_do_no_harm(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Trainer._save_at_stop
    monkeypatch.setattr(Trainer, "validate", lambda self: os.kill(os.getpid(), signal.SIGTERM))
    monkeypatch.setattr(Trainer, "_save_at_stop", lambda self: (kill_workers(), save(self)))
    with pytest.raises(SystemExit) as stopped:
        cli.train(with_a_worker(words))
    assert stopped.value.code == 128 + signal.SIGTERM
    position = load_checkpoint(tmp_path / "train/weights/last.pt").training["position"]  # type: ignore[index]
    assert position["batches"] == BATCHES


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_a_worker_that_dies_amid_a_batch_is_told_of_after_it(
    words: list[str],
    at_batch: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: list[int] = []
    at_batch(lambda trainer, number: kill_workers() if number == 0 else None)
    step = Trainer.optimizer_step
    monkeypatch.setattr(Trainer, "optimizer_step", lambda self: (step(self), steps.append(0)))
    with pytest.raises(SystemExit) as failed:
        cli.train(with_a_worker(words))
    assert failed.value.code == 2
    assert "a process that reads images ended" in capsys.readouterr().err
    assert steps == [0]
    position = load_checkpoint(tmp_path / "train/weights/last.pt").training["position"]  # type: ignore[index]
    assert position["batches"] == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_in_a_script_the_signal_that_ends_a_process_leaves_a_checkpoint_too(
    demo: Path, model_yaml: Path, at_batch: Any, tmp_path: Path
) -> None:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    at_batch(lambda trainer, number: os.kill(os.getpid(), signal.SIGTERM) if number == 1 else None)
    settings: dict[str, Any] = {"imgsz": 64, "batch": 8, "plots": False, "workers": 0}
    with pytest.raises(SystemExit) as stopped:
        MOAT(str(model_yaml)).train(data=str(demo), project=str(tmp_path), epochs=2, **settings)
    assert stopped.value.code == 128 + signal.SIGTERM
    position = load_checkpoint(tmp_path / "train/weights/last.pt").training["position"]  # type: ignore[index]
    assert position["batches"] == 2
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_a_resumed_run_that_is_stopped_before_it_is_where_it_was_keeps_its_checkpoint(
    words: list[str], at_batch: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_batch(lambda trainer, number: os.kill(os.getpid(), signal.SIGTERM) if number == 1 else None)
    with pytest.raises(SystemExit):
        cli.train(words)
    monkeypatch.undo()
    last = tmp_path / "train/weights/last.pt"
    before = last.read_bytes()
    hold = Signals.hold

    def interrupted(self: Signals) -> None:
        hold(self)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Signals, "hold", interrupted)
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        cli.train(["--resume", str(last)])
    assert stopped.value.code == 128 + signal.SIGINT
    assert "train: stopped" in capsys.readouterr().err
    assert last.read_bytes() == before


def test_resume_takes_the_newest_run_that_is_whole(trained: Path, tmp_path: Path, log: list[str]) -> None:
    checkpoint = load_checkpoint(trained / "weights/best.pt")
    for age, (name, training) in enumerate({"a": {}, "b": {"epoch": 0}, "c": {"epoch": 1}, "d": None}.items()):
        path = tmp_path / name / "weights/last.pt"
        Checkpoint(**{**vars(checkpoint), "training": training}).save(path)
        if name == "c":
            path.write_bytes(path.read_bytes()[:-100])
        os.utime(path, (age, age))
    assert newest_run(tmp_path) == tmp_path / "b/weights/last.pt"
    assert any("c/weights/last.pt is no checkpoint, or a damaged one" in line for line in log)


def test_two_trainings_do_not_share_a_folder(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom moat_det.run_folder import hold_run\n"
        "lock = hold_run(Path(sys.argv[1]))\nprint('held', flush=True)\nsys.stdin.read()\n"
    )
    run = tmp_path / "train"
    run.mkdir()
    (run / "results.csv").write_text("epoch\n1\n")
    command = [sys.executable, "-c", program, str(run)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(SystemExit) as stopped:
            cli.train([*words, "--exist-ok"])
        assert stopped.value.code == 2
        assert "another training is at work in this folder" in capsys.readouterr().err
        other.kill()  # whoever dies lets go
    assert (run / "results.csv").read_text() == "epoch\n1\n"
    hold_run(run).release()
    first = hold_run(run)
    with pytest.raises(UserError, match="another training"):
        hold_run(run)
    first.release()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_that_is_killed_at_its_last_validation_goes_on_with_what_is_left(
    when: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: Any) -> None:
        raise Killed

    run = tmp_path / "train"
    words[words.index("--epochs") + 1] = "1"
    with monkeypatch.context() as patch:
        if when == "before":
            patch.setattr(Trainer, "final_eval", die)
        else:
            patch.setattr(
                trainer_module, "strip", lambda path, *more: strip(path, *more) if path.name == "best.pt" else die()
            )
        with pytest.raises(Killed):
            cli.train([*words, "--debug"])
    before, epochs = weights(run), rows(run)
    assert load_checkpoint(run / "weights" / "last.pt").training is not None
    (run / "weights" / ".last-0123abcd.pt").write_bytes(b"half")
    (run / "weights" / ".last-of-mine.pt").write_bytes(b"the user's own")
    cli.train(["--resume", str(run / "weights" / "last.pt"), "--debug"])
    assert rows(run) == epochs, "an epoch more"
    for name, value in weights(run).items():
        assert torch.equal(value, before[name]), name
    for name in ("best.pt", "last.pt"):
        assert load_checkpoint(run / "weights" / name).training is None
    assert (run / "metrics.json").exists()
    assert [path.name for path in (run / "weights").glob(".*")] == [".last-of-mine.pt"]
