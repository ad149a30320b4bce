"""Trainings on data that is mostly good parts."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest

from moat_det import MOAT
from moat_det.engine.trainer import Trainer
from moat_det.errors import UserError


@pytest.fixture
def mostly_good(demo: Path, tmp_path: Path) -> Path:
    """The demo set, with as few boxes as leave four images out of 24 with any."""
    root = tmp_path / "set"
    shutil.copytree(demo.parent, root)
    labels = [path for path in sorted((root / "labels" / "train").iterdir()) if path.read_text().strip()]
    for path in labels[4:]:
        path.write_text("")
    data = root / "data.yaml"
    data.write_text(data.read_text().replace(str(demo.parent), str(root)))
    return data


def start(data: Path, model: Path, tmp_path: Path, **options: object) -> Trainer:
    trainer = MOAT(model).make_trainer(
        data=str(data), imgsz=64, batch=4, plots=False, workers=0, project=str(tmp_path / "runs"), **options
    )
    trainer._setup_train()
    return trainer


def test_an_epoch_has_objects_in_every_batch(
    mostly_good: Path, model_yaml: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = start(mostly_good, model_yaml, tmp_path, mosaic=0.0, scale=0.0, translate=0.0)  # no box is cut away
    assert "an epoch takes 4 images with objects and 4 of the 20 good parts" in caplog.text
    assert len(trainer.train_loader) == 2
    trainer.train_loader.start_epoch(0)
    assert all(len(batch["cls"]) for batch in trainer.train_loader)


def test_the_first_scores_are_those_of_the_datas_objects(mostly_good: Path, model_yaml: Path, tmp_path: Path) -> None:
    text = "".join(path.read_text() for path in (mostly_good.parent / "labels" / "train").iterdir())
    boxes = [int(line.split()[0]) for line in text.splitlines()]
    trainer = start(mostly_good, model_yaml, tmp_path)
    for level, stride in zip(trainer.model.head.cv3, (8, 16, 32), strict=True):
        points = (64 / stride) ** 2
        expected = [math.log(max(boxes.count(name), 0.5) / 8 / points) for name in range(4)]
        assert level[-1].bias.tolist() == pytest.approx(expected, rel=1e-5)


def test_a_share_that_is_given(mostly_good: Path, model_yaml: Path, tmp_path: Path) -> None:
    assert len(start(mostly_good, model_yaml, tmp_path, good_parts=0.2).train_loader) == 2  # four and one
    assert len(start(mostly_good, model_yaml, tmp_path, good_parts=0.9).train_loader) == 6  # all of them
    with pytest.raises(UserError, match=r"--good-parts 1: .* below 1"):
        start(mostly_good, model_yaml, tmp_path, good_parts=1)
