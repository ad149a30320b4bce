"""Trainings small enough for a test, each done once: one that runs, and one that learns."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from helpers.squares import Learnt, draw_squares
from moat_det.cli import main as cli
from moat_det.demo import generate_demo
from moat_det.engine import MOAT

# Whatever a training needs to take seconds: 64 px, one thread's worth of images, the smallest neck.
SMALL = ["--imgsz", "64", "--batch", "8", "--plots", "false", "--workers", "0"]
MODEL = """\
backbone: {name: tiny_moat0}
neck: {channels: [16, 16, 16]}
"""
# The things are of nearly one size and nothing disturbs: 224 steps are enough.
LEARNING: dict[str, Any] = {
    **{"imgsz": 64, "batch": 8, "nbs": 8, "epochs": 7, "amp": False, "val": False, "plots": False, "workers": 0},
    **{"optimizer": "AdamW", "lr0": 0.003, "lrf": 0.05, "warmup_epochs": 2, "close_mosaic": 0, "flipud": 0.5},
    **dict.fromkeys(["mosaic", "scale", "translate", "hsv_h", "hsv_s", "hsv_v"], 0.0),
}
NATIVE: dict[str, Any] = {"imgsz": "native", "amp": False, "plots": False, "workers": 0}


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data.yaml of a demo set of 24 and 12 images of 96 x 96 px."""
    return generate_demo(tmp_path_factory.mktemp("data") / "demo", train=24, val=12, size=(96, 96))


@pytest.fixture(scope="session")
def model_yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's own model YAML."""
    path = tmp_path_factory.mktemp("model") / "small.yaml"
    path.write_text(MODEL)
    return path


@pytest.fixture(scope="session")
def trained(demo: Path, model_yaml: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training of two epochs."""
    project = tmp_path_factory.mktemp("runs")
    cli.train(
        ["--data", str(demo), "--model", str(model_yaml), "--epochs", "2", "--project", str(project), "--debug"]
        + [word for word in SMALL if word not in {"--plots", "false"}]
    )
    return project / "train"


@pytest.fixture(scope="session")
def learnt(request: pytest.FixtureRequest, model_yaml: Path, tmp_path_factory: pytest.TempPathFactory) -> Learnt:
    """A model that finds what is drawn, for tests that compare boxes, scores or figures.

    The boxes of a training of two epochs are all the whole image, with scores that are equal but for the last digits.
    Processes that share a session share the training.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if hasattr(request.config, "workerinput") else base) / "learnt"
    learnt = Learnt(folder / "set" / "data.yaml", folder / "train" / "weights" / "best.pt")
    with FileLock(f"{folder}.lock"):
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a process that was stopped
            draw_squares(folder / "set", train=256, val=12, train_side=64, val_side=96)
            MOAT(model_yaml).train(data=str(learnt.data), project=str(folder), **LEARNING)
            figures = MOAT(learnt.weights).val(data=str(learnt.data), project=str(folder), **NATIVE)
            assert figures.AP50 > 0.8
            (folder / "done").touch()
    return learnt
