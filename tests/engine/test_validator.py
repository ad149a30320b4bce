"""The one loop, as an epoch of a training and as `val.py` run it."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from PIL import Image
from ultralytics.cfg import get_cfg
from ultralytics.utils import metrics

from helpers.squares import Learnt
from moat_det import MOAT
from moat_det.data.sizes.letterbox import Placement
from moat_det.detector.detector import Detector
from moat_det.engine.checkpoint import load_checkpoint
from moat_det.engine.inference_options import InferenceOptions
from moat_det.engine.validation_data import open_split, read_data
from moat_det.engine.validation_files import ValidationFiles
from moat_det.engine.validator import Validator


def epoch_of(weights: Path, data: Path, folder: Path) -> tuple[Validator, Any]:
    """A validator as a trainer has it, and the trainer as far as it looks at it; batches of 8 and of 4 images."""
    checkpoint = load_checkpoint(weights)
    model = checkpoint.build()
    args = get_cfg(
        overrides={"data": str(data), "imgsz": 64, "batch": 8, "plots": True, "save_txt": True, "rect": True}
    )
    model.args = args
    found = read_data(args, model, checkpoint.trained.intensity)
    loader = open_split(args, found, InferenceOptions(), 32, torch.device("cpu"), workers=0)
    trainer = SimpleNamespace(device=torch.device("cpu"), ema=SimpleNamespace(ema=model))
    return Validator(args, loader, folder), trainer


def test_an_epoch_gives_figures_and_losses_and_writes_nothing(
    learnt: Learnt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics.DetMetrics, "update_stats", lambda *_: pytest.fail("the engine matches too"))
    validator, trainer = epoch_of(learnt.weights, learnt.data, tmp_path)
    figures = validator(trainer)
    assert not list(tmp_path.iterdir())
    assert [*figures][:4] == validator.metrics.keys
    assert figures["fitness"] == round(validator.coco.AP, 5) == figures["metrics/mAP50-95(B)"]
    assert figures["metrics/recall(B)"] == round(validator.coco.recall, 5)

    model, sums = trainer.ema.ema, Counter[str]()
    with torch.no_grad():
        for batch in validator.dataloader:
            for name, loss in model.loss(batch, model(batch["img"]))[1].items():
                sums[f"val/{name}"] += float(loss) * len(batch["img"]) / 12
    assert {name: value for name, value in figures.items() if name.startswith("val/")} == pytest.approx(
        dict(sums), abs=1e-5
    )
    assert validator(trainer) == figures, "an epoch leaves something to the next"


def test_an_epoch_and_val_see_the_same(learnt: Learnt, tmp_path: Path) -> None:
    validator, trainer = epoch_of(learnt.weights, learnt.data, tmp_path)
    epoch = validator(trainer)
    model = MOAT(learnt.weights)
    figures = model.val(data=str(learnt.data), imgsz=64, batch=8, amp=False, plots=False, project=str(tmp_path))
    assert figures.AP > 0.2
    assert epoch["metrics/mAP50-95(B)"] == pytest.approx(figures.AP, abs=1e-4)
    assert epoch["metrics/recall(B)"] == pytest.approx(figures.recall, abs=1e-3)


@pytest.mark.parametrize("given", [{}, {"rect": False}])
def test_val_sees_images_in_the_shape_that_detection_gives_them(
    given: dict[str, bool], learnt: Learnt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[int, ...]] = []
    forward = Detector.forward

    def note(self: Detector, images: Any, *rest: Any, **more: Any) -> Any:
        if not isinstance(images, dict):
            shapes.append(tuple(images.shape[2:]))
        return forward(self, images, *rest, **more)

    monkeypatch.setattr(Detector, "forward", note)
    Image.new("RGB", (128, 64)).save(tmp_path / "a.png")
    MOAT(learnt.weights).predict(tmp_path / "a.png", imgsz=128, **given, save=False, verbose=False)
    detected = shapes.pop()
    (tmp_path / "data.yaml").write_text(
        f"train: a.png\nval: a.png\nnames: {list(MOAT(learnt.weights).names.values())}\n"
    )
    data = str(tmp_path / "data.yaml")
    MOAT(learnt.weights).val(data=data, imgsz=128, **given, plots=False, project=str(tmp_path))
    assert shapes.pop() == detected == ((128, 128) if given else (64, 128))


def test_the_class_of_a_model_of_one_is_none_of_the_data(learnt: Learnt, tmp_path: Path) -> None:
    """It is trained by --single-cls --classes 1: the labels of class 1 are its class 0."""
    raw = torch.tensor([[10.0, 10.0, 8.0, 8.0, 0.9]]).T[None]
    args = {"data": str(learnt.data), "single_cls": True, "classes": [1]}
    assert [len(found) for found in Validator(args, save_dir=tmp_path)._suppress(raw)] == [1]
    of_two = torch.cat([raw, torch.tensor([[[0.1]]])], 1)
    assert Validator({**args, "conf": 0.5}, save_dir=tmp_path)._suppress(of_two)[0].shape == (0, 6)


def test_val_writes_pictures_and_texts_and_calls_back(trained: Path, demo: Path, tmp_path: Path) -> None:
    model = MOAT(trained / "weights" / "best.pt")
    events: Counter[str] = Counter()
    for event in ("on_val_start", "on_val_batch_start", "on_val_batch_end", "on_val_end"):
        model.add_callback(event, lambda validator, event=event: events.update([event]))
    model.val(data=str(demo), imgsz=64, batch=8, save_txt=True, save_conf=True, visualize=True, project=str(tmp_path))
    assert events == {"on_val_start": 1, "on_val_batch_start": 2, "on_val_batch_end": 2, "on_val_end": 1}
    folder = tmp_path / "val"
    pictures = {f"val_batch{number}_{what}.jpg" for number in (0, 1) for what in ("labels", "pred")}
    assert {*pictures, "confusion_matrix.png", "PR_curve.png"} <= {path.name for path in folder.iterdir()}
    assert len(list((folder / "visualizations").iterdir())) == 12
    predictions = json.loads((folder / "predictions.json").read_text())
    lines = [line.split() for file in (folder / "labels").glob("*.txt") for line in file.read_text().splitlines()]
    assert len(lines) == len(predictions)
    assert sorted(float(line[5]) for line in lines) == pytest.approx(sorted(p["score"] for p in predictions), rel=1e-3)


def test_labels_are_called_alike_in_every_process(tmp_path: Path) -> None:
    """Each looks at batches of its own, in which the other image of the name is not."""
    files = [str(tmp_path / "set" / name) for name in ("a.png", "a.jpg", "b.png")]
    dataset, none = cast("Any", SimpleNamespace(im_files=files)), cast("Any", None)
    args = SimpleNamespace(save_txt=True, save_conf=False, plots=False)
    for file in files:
        image = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
        batch = {"im_file": [file], "img": image, "ori_shape": [(8, 8)], "placement": [Placement(1.0, 1.0)]}
        of_process = ValidationFiles(tmp_path / "val", args, dataset, {0: "pit"}, none, none)
        of_process.add(0, batch, [torch.zeros(0, 6)], [torch.tensor([[0.0, 0, 4, 4, 0.5, 0]])])
    assert sorted(file.name for file in (tmp_path / "val/labels").iterdir()) == ["a.png.txt", "a.txt", "b.txt"]


def test_an_epoch_says_what_its_figures_are_where_no_bar_is_drawn(
    trained: Path, demo: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    validator, trainer = epoch_of(trained / "weights" / "best.pt", demo, tmp_path)
    with caplog.at_level(logging.INFO, "moat_det"):
        validator(trainer)
    heading, row = (message.split() for message in caplog.messages[-2:])
    assert heading == ["Class", "Images", "Instances", "Box(P", "R", "mAP50", "mAP50-95)"]
    assert row[0] == "all"
    assert len(row) == len(heading)
