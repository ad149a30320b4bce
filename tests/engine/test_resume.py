"""Runs that go on: wherever their data is now, with that data alone, and as they were begun."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ultralytics.utils.torch_utils import unwrap_model

from moat_det.cli import main as cli
from moat_det.engine.checkpoint import load_checkpoint
from moat_det.engine.run_checkpoints import drop_rows_after, say_processes
from moat_det.engine.train_options import TrainOptions
from moat_det.engine.trainer import Trainer

SMALL = ["--imgsz", "64", "--batch", "8", "--plots", "false", "--workers", "0"]


class Stopped(Exception):
    """What stops a training after its first epoch."""


@pytest.fixture(scope="module")
def begun(demo: Path, model_yaml: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data`, a copy of the demo set, and `runs/train`, a run on it that was stopped after an epoch."""
    folder = tmp_path_factory.mktemp("begun")
    shutil.copytree(demo.parent, folder / "data")
    text = (folder / "data" / "data.yaml").read_text()  # which names the folder that it was drawn in
    (folder / "data" / "data.yaml").write_text(re.sub("^path:.*$", "path: .", text, flags=re.M))
    save = Trainer.save_model

    def save_and_stop(self: Trainer) -> bool:
        save(self)
        raise Stopped

    words = ["--data", str(folder / "data" / "data.yaml"), "--model", str(model_yaml), "--epochs", "2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "save_model", save_and_stop)
        with pytest.raises(Stopped):
            cli.train([*words, "--project", str(folder / "runs"), *SMALL, "--debug"])
    return folder


@pytest.fixture
def copy(begun: Path, tmp_path: Path) -> Path:
    """A copy of the run whose data has moved with it; the old data is still where it was."""
    shutil.copytree(begun, tmp_path / "copy")
    return tmp_path / "copy"


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_data_that_has_moved_is_named_beside_resume(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copy / "data").rename(copy / "moved")
    monkeypatch.chdir(copy)
    run = copy / "runs" / "train"
    cli.train(["--resume", str(run / "weights" / "last.pt"), "--data", "moved/data.yaml", "--debug"])
    assert len((run / "results.csv").read_text().splitlines()) == 1 + 2
    assert str(copy / "moved" / "data.yaml") in (run / "args.yaml").read_text()
    assert load_checkpoint(run / "weights" / "last.pt").training is None


@pytest.mark.parametrize("place", ["last.pt", "weights/last.pt"])
def test_a_checkpoint_among_other_files_is_no_run(
    copy: Path, place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    (home / place).parent.mkdir(parents=True)
    shutil.copy(copy / "runs" / "train" / "weights" / "last.pt", home / place)
    (tmp_path / "results.csv").write_text("id,score\n5,0.91\n")
    (home / "results.csv").write_text("id,score\n5,0.91\n")
    before = contents(home)
    with pytest.raises(SystemExit) as stopped:
        cli.train(["--resume", str(home / place), "--data", str(copy / "data" / "data.yaml")])
    assert stopped.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"{home / place}: lies in no run's folder" in line
    assert f"--weights {home / place}" in line
    assert contents(home) == before
    assert (tmp_path / "results.csv").exists()


def test_a_device_that_is_gone_is_named_with_the_way_out(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last = copy / "runs" / "train" / "weights" / "last.pt"
    checkpoint = load_checkpoint(last)
    replace(checkpoint, args={**checkpoint.args, "device": "7"}).save(last)
    with pytest.raises(SystemExit) as stopped:
        cli.train(["--resume", str(last)])
    assert stopped.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "--device 7" in line
    assert f"--resume {last} --device cpu" in line


def test_a_resumed_run_reads_with_as_many_workers(copy: Path, tmp_path: Path) -> None:
    last = copy / "runs" / "train" / "weights" / "last.pt"
    checkpoint = load_checkpoint(last)
    replace(checkpoint, args={**checkpoint.args, "workers": 3}).save(last)
    overrides = {"resume": str(last), "data": str(copy / "data" / "data.yaml")}
    trainer = Trainer(overrides=overrides)
    assert trainer.args.workers == 3
    trainer._let_others_in()
    assert Trainer(overrides={**overrides, "workers": 1}).args.workers == 1


def test_a_run_goes_on_from_another_folder(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copy / "runs")
    cli.train(["--resume", os.path.join("train", "weights", "last.pt"), "--debug"])
    assert len((copy / "runs" / "train" / "results.csv").read_text().splitlines()) == 1 + 2


@pytest.mark.parametrize("change", ["a class", "an image", "a name"])
def test_other_data_is_refused_and_the_run_stays(change: str, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    label = next(path for path in sorted((copy / "data" / "labels" / "train").iterdir()) if path.stat().st_size)
    yaml = copy / "data" / "data.yaml"
    if change == "a class":
        label.write_text("1" + label.read_text()[1:] if label.read_text()[0] != "1" else "0" + label.read_text()[1:])
    elif change == "an image":
        sorted((copy / "data" / "images" / "val").iterdir())[0].unlink()
    else:
        yaml.write_text(yaml.read_text().replace("scratch", "crack"))
    run = copy / "runs" / "train"
    before = contents(run)
    with pytest.raises(SystemExit) as stopped:
        cli.train(["--resume", str(run / "weights" / "last.pt"), "--data", str(yaml)])
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert stopped.value.code == 2
    assert str(yaml) in line
    assert "resume with the data it was started with" in line
    assert contents(run) == before


def test_what_a_resumed_run_does_not_take_is_said(copy: Path, log: list[str]) -> None:
    last = copy / "runs" / "train" / "weights" / "last.pt"
    cli.train(["--resume", str(last), "--epochs", "9", "--imgsz", "96", "--layer-decay", "0.5", "--debug"])
    said = [line for line in log if "a resumed run keeps its own" in line]
    assert any("epochs, imgsz" in line for line in said)
    assert any("layer_decay" in line for line in said)
    checkpoint = load_checkpoint(last)
    assert (checkpoint.args["epochs"], checkpoint.args["imgsz"]) == (2, 64)


@pytest.mark.parametrize(
    ("before", "synchronized", "given", "said"),
    [
        (2, False, [], "goes on in 1 process(es), after 2: batch statistics are those of whole batches, after 1/2 of"),
        (2, True, [], "goes on in 1 process(es), after 2: rounding will differ"),
        (1, False, ["--sync-bn"], None),
    ],
)
def test_what_another_number_of_processes_changes_is_said(
    before: int, synchronized: bool, given: list[str], said: str | None, copy: Path, log: list[str]
) -> None:
    last = copy / "runs" / "train" / "weights" / "last.pt"
    checkpoint = load_checkpoint(last)
    assert checkpoint.training is not None
    options = {**checkpoint.training["options"], "sync_bn": synchronized}
    replace(checkpoint, training={**checkpoint.training, "processes": before, "options": options}).save(last)
    with interrupted("save_model"), pytest.raises(SystemExit):
        cli.train(["--resume", str(last), *given])
    assert not any("keeps its own" in line for line in log)
    lines = [line for line in log if "process(es)" in line]
    assert len(lines) == (said is not None)
    assert said is None or said in lines[0]
    now = load_checkpoint(last).training
    assert now is not None
    assert now["options"]["sync_bn"] == (synchronized or bool(given))


def test_batch_statistics_of_a_share_are_another_training(log: list[str]) -> None:
    say_processes({"processes": 1, "options": {}}, 2, TrainOptions({}))
    assert "goes on in 2 process(es), after 1: batch statistics are those of 1/2 of a batch" in log[0]
    assert log[0].endswith("--sync-bn takes them of all")
    say_processes({"processes": 1, "options": {}}, 2, TrainOptions({}, sync_bn=True))
    assert log[1].endswith("rounding will differ")


@pytest.mark.parametrize(
    ("content", "left"),
    [
        ("epoch,time\n1,5\n2,9\n3,1", "epoch,time\n1,5\n2,9\n"),
        ("epoch,time\n1,5\n2", "epoch,time\n1,5\n"),
        ("epoch,time\n", None),
        ("epo", None),
        ("", None),
        ("\0" * 40, None),
    ],
    ids=["a row too many", "half a row", "no row", "half a header", "empty", "of a power cut"],
)
def test_rows_that_are_written_again_are_dropped(content: str, left: str | None, tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text(content)
    drop_rows_after(path, 2)
    assert (path.read_text() if path.exists() else None) == left


@contextmanager
def interrupted(step: str) -> Iterator[None]:
    """Let the user press Ctrl-C at the end of `step` of the trainer, in each epoch."""
    done = getattr(Trainer, step)

    def do_and_stop(self: Trainer) -> object:
        done(self)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, step, do_and_stop)
        yield


@pytest.fixture
def loss_weights(monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """The weight of the one-to-many loss of a model with two heads, by the number of the epoch."""
    seen: dict[int, float] = {}
    end_batch = Trainer._end_batch

    def note(self: Trainer) -> None:
        if (criterion := unwrap_model(self.model).criterion) is not None:  # of a batch that is passed there is none
            seen[self.epoch] = criterion.o2m
        end_batch(self)

    monkeypatch.setattr(Trainer, "_end_batch", note)
    return seen


@pytest.mark.parametrize("stop", ["save_model", "validate"], ids=["after an epoch", "in its validation"])
def test_a_loss_that_changes_by_the_epoch_goes_on_with_its_own(
    stop: str, demo: Path, tmp_path: Path, loss_weights: dict[int, float]
) -> None:
    words = ["--data", str(demo), "--model", "yolo26n.yaml", "--epochs", "3", "--project", str(tmp_path), *SMALL]
    cli.train([*words, "--name", "whole", "--debug"])
    expected = dict(loss_weights)
    assert expected == pytest.approx({0: 0.8, 1: 0.45, 2: 0.1})
    loss_weights.clear()
    with interrupted(stop), pytest.raises(SystemExit):
        cli.train([*words, "--name", "cut"])
    assert list(loss_weights) == [0]
    cli.train(["--resume", str(tmp_path / "cut" / "weights" / "last.pt"), "--debug"])
    assert loss_weights == expected
    whole, cut = (load_checkpoint(tmp_path / name / "weights" / "last.pt").weights for name in ("whole", "cut"))
    assert all(torch.equal(tensor, cut[name]) for name, tensor in whole.items())
