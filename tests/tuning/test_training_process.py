from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from moat_det.benchmark.accuracy import process
from moat_det.benchmark.accuracy.runs import Run
from moat_det.benchmark.accuracy.sets import BenchSet
from moat_det.run_folder import LOCK
from moat_det.tuning import training

SPLITS: dict[str, dict[str, int | str]] = {
    split: {"images": 4, "boxes": 8, "digest": split} for split in ("train", "val", "test")
}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run("tiny_moat0", BenchSet("steel", tmp_path / "data.yaml", SPLITS, "val", (64, 96)), 0, {}, tmp_path)
    run.folder.mkdir(parents=True)
    return run


def test_the_epochs_that_are_whole(run: Run) -> None:
    assert training.epochs_of(run) == []
    file = run.folder / "results.csv"
    file.write_text("")
    assert training.epochs_of(run) == []
    file.write_text("epoch,metr")
    assert training.epochs_of(run) == []
    file.write_text("epoch,metrics/mAP50-95(B),lr/pg0\n1,0.1,0.01\n2,0.25,0.01\n3,0.")
    assert training.epochs_of(run) == [0.1, 0.25]


def test_a_training_that_ends_and_one_that_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "training", lambda run: ["--version"])
    assert training.train(run, lambda: True) == "trained"
    assert training.last_words(run).startswith("moat_det ")
    monkeypatch.setattr(process, "training", lambda run: ["trian"])
    assert training.train(run, lambda: True) == "failed"
    assert "did you mean train?" in training.last_words(run)


def test_the_folder_of_a_training_need_not_be_there(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run.folder.rmdir()
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\necho "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(process.sys, "executable", str(program))
    assert training.train(run, lambda: True) == "trained"
    assert training.last_words(run).startswith("-m moat_det train --model=tiny_moat0")


def test_waiting_for_a_training_that_another_call_left_ends_with_the_time(run: Run) -> None:
    asked = iter([True, True, False])
    with FileLock(run.folder / LOCK, is_singleton=False):
        assert training.train(run, lambda: False, lambda: next(asked)) == "stopped"


def test_a_training_that_is_stopped_ends_by_itself(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Stands for the training: it notes the signal and writes before it ends.
    program = tmp_path / "python"
    program.write_text(
        "#!/bin/sh\ntrap 'echo asked to end; kill $!; exit 143' TERM\necho begun\nsleep 60 &\nwait\n", encoding="utf-8"
    )
    program.chmod(0o755)
    monkeypatch.setattr(process.sys, "executable", str(program))
    began = time.monotonic()
    assert training.train(run, lambda: "begun" not in training.last_words(run)) == "stopped"
    assert training.last_words(run) == "asked to end"

    def interrupted() -> bool:
        if training.last_words(run) == "begun":
            raise KeyboardInterrupt
        return True

    with pytest.raises(KeyboardInterrupt):
        training.train(run, interrupted)
    assert training.last_words(run) == "asked to end"
    assert time.monotonic() - began < 30


def test_a_training_that_outlived_its_search_is_waited_for(
    run: Run, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    monkeypatch.setattr(process, "training", lambda run: ["--version"])
    monkeypatch.setattr(training, "_LOOK_EVERY", 0.05)
    lock = FileLock(run.folder / LOCK, thread_local=False)
    lock.acquire()
    threading.Timer(0.5, lock.release).start()
    assert training.train(run, lambda: True) == "trained"
    assert any("left this training at work" in line for line in log)
