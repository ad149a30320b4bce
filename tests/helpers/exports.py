"""A detector whose scores and boxes differ from point to point, and its exports, each made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from helpers.separated import separate
from moat_det import MOAT, demo
from moat_det.data.index import open_index
from moat_det.detector.build import build_model
from moat_det.engine.checkpoint import Checkpoint

CONFIG = {"backbone": {"name": "tiny_moat0"}, "neck": {"channels": [16, 16, 16]}}
NAMES = dict(enumerate(demo.NAMES))


@pytest.fixture(scope="session")
def checkpoint(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, trained on 96 x 128 and chosen by the images, by its own account.

    Its weights are random, its norms follow images.
    """
    torch.manual_seed(0)
    model = build_model(CONFIG, len(NAMES), NAMES).train()
    coarse = torch.randint(0, 256, (8, 3, 12, 16), dtype=torch.uint8)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain mean
    with torch.no_grad():
        model(coarse.repeat_interleave(8, 2).repeat_interleave(8, 3))
    separate(model)  # type: ignore[arg-type]  # of a backbone of ours
    for score in model.head.cv3:  # type: ignore[union-attr]
        score[-1].weight.data *= 0.05  # less than 1 all, where many would be equal
    path = tmp_path_factory.mktemp("weights") / "best.pt"
    args = {"amp": True, "imgsz": [96, 128]}
    chosen_on = open_index(str(images.parent / "images" / "val"), NAMES).images_digest()
    Checkpoint(CONFIG, NAMES, model.state_dict(), args, metrics={}, chosen_on=chosen_on).save(path)
    return path


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data.yaml of a few demo images of 80 x 120 px."""
    source = demo.generate_demo(tmp_path_factory.mktemp("data") / "demo", train=1, val=4, size=(80, 120))
    assert yaml.safe_load(source.read_text())["names"]
    return source


@pytest.fixture(scope="session")
def exported(checkpoint: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Export the checkpoint in a format and with options, once; gives the folder, which no test changes."""
    made: dict[object, Path] = {}

    def export(format: str = "onnx", **options: object) -> Path:
        key = (format, *sorted(options.items(), key=str))
        if str(key) not in made:
            out = tmp_path_factory.mktemp("exports") / format
            MOAT(checkpoint).export(format=format, data=str(images), images=4, out=str(out), **options)
            made[str(key)] = out
        return made[str(key)]

    return export
