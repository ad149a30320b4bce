from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from helpers.squares import Learnt
from moat_det.cli import main as cli
from moat_det.detector.peers import Peer
from moat_det.engine import MOAT
from moat_det.engine.checkpoint import Checkpoint, load_checkpoint, load_model

SMALL = ["--imgsz", "64", "--batch", "8", "--plots", "false", "--workers", "0"]


def train(*words: str | Path) -> None:
    cli.train([str(word) for word in words] + SMALL + ["--debug"])


def test_a_training_leaves_what_the_readme_says(trained: Path) -> None:
    names = {path.name for path in trained.rglob("*") if path.is_file()}
    assert {"results.csv", "results.png", "labels.jpg", "last.pt", "best.pt", "args.yaml", "options.yaml"} <= names
    assert {"confusion_matrix.png", "PR_curve.png", "metrics.json"} <= names
    assert not [name for name in names if name.startswith(".")], "temporary files are left"
    rows = (trained / "results.csv").read_text().splitlines()
    assert len(rows) == 1 + 2
    assert "metrics/mAP50-95(B)" in rows[0]


def test_checkpoints_hold_nothing_but_tensors_and_plain_types(trained: Path) -> None:
    content = torch.load(trained / "weights" / "best.pt", weights_only=True)
    assert content["names"] == {0: "scratch", 1: "pit", 2: "stain", 3: "missing_pad"}
    assert content["training"] is None
    assert content["args"]["nbs"] == content["args"]["batch"] == 8
    assert all(value.dtype != torch.float16 for value in content["weights"].values())


@pytest.mark.parametrize("nbs", [(), ("--nbs", "32")], ids=["a step a batch", "four of three batches an epoch"])
def test_a_resumed_training_equals_an_uninterrupted_one(
    nbs: tuple[str, ...], demo: Path, model_yaml: Path, tmp_path: Path
) -> None:
    common = ("--data", demo, "--model", model_yaml, "--epochs", "3", "--close-mosaic", "0", *nbs)
    train(*common, "--project", tmp_path / "whole")
    last = tmp_path / "cut" / "train" / "weights" / "last.pt"
    program = (
        "import os, sys\n"
        "from moat_det.cli import main as cli\n"
        "from moat_det.engine import trainer\n"
        "save = trainer.Trainer.save_model\n"
        "def save_and_die(self):\n"
        "    save(self)\n"
        "    if self.epoch == 1: os.kill(os.getpid(), 9)\n"
        "    return True\n"
        "trainer.Trainer.save_model = save_and_die\n"
        "cli.train(sys.argv[1:])\n"
    )
    words = [str(word) for word in (*common, "--project", tmp_path / "cut", *SMALL)]
    killed = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    with (last.parents[1] / "results.csv").open("a") as file:
        file.write("3,1.0")  # as if killed amid the next row
    cli.train(["--resume", str(last), "--debug"])

    whole = load_checkpoint(tmp_path / "whole" / "train" / "weights" / "last.pt")
    resumed = load_checkpoint(last)
    for name, value in whole.weights.items():
        assert torch.equal(value, resumed.weights[name]), name
    rows = [
        [row.split(",")[0], *row.split(",")[2:]]  # without the time
        for folder in ("whole", "cut")
        for row in (tmp_path / folder / "train" / "results.csv").read_text().splitlines()
    ]
    assert rows[:4] == rows[4:]


def test_a_full_disk_leaves_the_older_checkpoint_whole(
    demo: Path, model_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    saves = []
    fsync = os.fsync

    def full_at_the_third(handle: int) -> None:
        saves.append(handle)
        if len(saves) > 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "last.pt")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full_at_the_third)
    with pytest.raises(SystemExit) as exit_:
        cli.train(
            ["--data", str(demo), "--model", str(model_yaml), "--epochs", "3", "--project", str(tmp_path), *SMALL]
        )
    assert exit_.value.code == 2
    assert "No space left" in capsys.readouterr().err
    monkeypatch.undo()
    weights = tmp_path / "train" / "weights"
    assert load_checkpoint(weights / "last.pt").training is not None
    assert [path.name for path in weights.iterdir() if path.name.startswith(".")] == []


def test_a_process_killed_while_it_writes_leaves_the_old_file(tmp_path: Path, trained: Path) -> None:
    path = tmp_path / "best.pt"
    path.write_bytes((trained / "weights" / "best.pt").read_bytes())
    program = (
        "import sys, time, moat_det.files as files\n"
        "with files.atomic_path(sys.argv[1]) as temporary:\n"
        "    temporary.write_bytes(b'half')\n"
        "    print('writing', flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"writing\n"
    process.kill()
    process.wait()
    time.sleep(0.05)
    assert load_model(path).names[0] == "scratch"


def test_val_equals_pycocotools_on_its_own_files(trained: Path, demo: Path, tmp_path: Path) -> None:
    best = str(trained / "weights" / "best.pt")
    cli.val(["--weights", best, "--data", str(demo), "--project", str(tmp_path), "--debug", "--imgsz", "64"])
    folder = tmp_path / "val"
    metrics = json.loads((folder / "metrics.json").read_text())
    truth = COCO(str(folder / "ground_truth.json"))
    outsider = COCOeval(truth, truth.loadRes(str(folder / "predictions.json")), "bbox")
    outsider.evaluate()
    outsider.accumulate()
    outsider.summarize()
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
    assert [metrics[name] for name in names] == outsider.stats.tolist()
    assert set(metrics) == {*names, "per_class", "images", "speed_ms"}
    assert metrics["images"] == 12


def test_val_does_not_depend_on_the_batch(learnt: Learnt, tmp_path: Path) -> None:
    model = MOAT(learnt.weights)
    common = {"data": str(learnt.data), "imgsz": 64, "plots": False, "amp": False, "project": str(tmp_path)}
    one, many = (model.val(batch=batch, **common) for batch in (1, 12))
    assert one.AP > 0.2
    assert pytest.approx(many.AP, abs=1e-4) == one.AP


def test_the_last_epochs_figures_are_those_of_val(learnt: Learnt, tmp_path: Path) -> None:
    training = json.loads((learnt.weights.parents[1] / "metrics.json").read_text())
    figures = MOAT(learnt.weights).val(data=str(learnt.data), project=str(tmp_path), plots=False, amp=False)
    assert training["AP"] > 0.2
    assert pytest.approx(training["AP"], abs=1e-6) == figures.AP


def test_training_goes_on_from_weights(trained: Path, demo: Path, model_yaml: Path, tmp_path: Path) -> None:
    best = trained / "weights" / "best.pt"
    train(
        "--data",
        demo,
        "--model",
        model_yaml,
        "--weights",
        best,
        "--epochs",
        "1",
        "--lr0",
        "1e-9",
        "--project",
        tmp_path,
    )
    before, after = load_checkpoint(best).weights, load_checkpoint(tmp_path / "train" / "weights" / "last.pt").weights
    name = "model.backbone.stem.conv_0.weight"
    assert torch.allclose(before[name], after[name], atol=1e-5)


def test_a_model_of_the_engine_trains_by_the_same_command(demo: Path, tmp_path: Path) -> None:
    train("--data", demo, "--model", "yolo11n.yaml", "--epochs", "1", "--project", tmp_path)
    model = load_model(tmp_path / "train" / "weights" / "best.pt")
    assert isinstance(model, Peer)


def test_a_step_of_few_images_leaves_the_batch_statistics(demo: Path, model_yaml: Path, tmp_path: Path) -> None:
    cli.train(
        (
            f"--data {demo} --model {model_yaml} --project {tmp_path} --epochs 1 --imgsz 64 --batch 2 --fraction 4 "
            "--plots false --debug"
        ).split()
    )
    weights = load_checkpoint(tmp_path / "train" / "weights" / "last.pt").weights
    assert torch.equal(weights["model.backbone.stem.norm_0.running_mean"], torch.zeros(32))


def test_a_checkpoint_survives_the_round_trip(trained: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(trained / "weights" / "best.pt")
    again = Checkpoint(checkpoint.config, checkpoint.names, checkpoint.weights, checkpoint.args, checkpoint.metrics)
    again.save(tmp_path / "copy.pt")
    x = torch.rand(1, 3, 64, 64)
    first, second = (load_model(p)(x)[0] for p in (trained / "weights" / "best.pt", tmp_path / "copy.pt"))
    assert torch.equal(first, second)
