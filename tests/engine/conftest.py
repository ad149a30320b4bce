"""A training small enough for a test, done once."""

from __future__ import annotations

from pathlib import Path

import pytest

from moat_det.cli import main as cli
from moat_det.demo import generate_demo

# Whatever a training needs to take seconds: 64 px, one thread's worth of images, the smallest neck.
SMALL = ["--imgsz", "64", "--batch", "8", "--plots", "false", "--workers", "0"]
MODEL = """\
backbone: {name: tiny_moat0}
neck: {channels: [16, 16, 16]}
"""


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
