"""What options of the recipe do to a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from moat_det import MOAT
from moat_det.cli import main as cli
from moat_det.engine.checkpoint import load_checkpoint
from moat_det.engine.train_options import TrainOptions
from moat_det.engine.trainer import Trainer
from moat_det.errors import UserError

SMALL = {"batch": 8, "plots": False, "workers": 0, "val": False}


def test_small_images_come_first_and_their_boxes_with_them(
    demo: Path, model_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[int, set[tuple[int, ...]]] = {}
    means: dict[int, list[float]] = {}
    preprocess = Trainer.preprocess_batch

    def note(self: Trainer, batch: dict[str, Any]) -> dict[str, Any]:
        before = batch["img"].float().mean() / 255
        boxes = batch["bboxes"].clone()
        batch = preprocess(self, batch)
        seen.setdefault(self.epoch, set()).add(tuple(batch["img"].shape[2:]))
        means.setdefault(self.epoch, []).append(float(batch["img"].mean() - before))
        assert torch.equal(boxes, batch["bboxes"])
        return batch

    monkeypatch.setattr(Trainer, "preprocess_batch", note)
    place = {"project": str(tmp_path), "name": "run"}
    MOAT(model_yaml).train(data=str(demo), imgsz=96, epochs=4, progressive=0.34, **SMALL, **place)
    assert seen == {0: {(64, 64)}, 1: {(96, 96)}, 2: {(96, 96)}, 3: {(96, 96)}}
    assert max(map(abs, means[0])) < 0.01, "the same pictures, only smaller"


def test_without_an_average_the_weights_are_measured_as_they_are(
    demo: Path, model_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def weights(**options: float) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        found = {}
        save = Trainer.save_model

        def note(self: Trainer) -> bool:
            found.update({name: tensor.clone() for name, tensor in self.model.state_dict().items()})
            return save(self)

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "save_model", note)
            place = {"project": str(tmp_path), "exist_ok": True}
            MOAT(model_yaml).train(data=str(demo), imgsz=64, epochs=1, **SMALL, **place, **options)
        return found, load_checkpoint(tmp_path / "train/weights/last.pt").weights

    name = "model.head.cv3.0.2.bias"
    model, saved = weights(ema=0)
    assert torch.equal(model[name], saved[name])
    model, saved = weights(ema=0.9, ema_tau=0.5)
    assert not torch.allclose(model[name], saved[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("progressive", 0, "above 0 and at most 1"),
        ("progressive", 1.5, "above 0 and at most 1"),
        ("rare_classes", 1.5, "to 1"),
        ("ema", 1, "to below 1"),
        ("ema_tau", 0, "steps above 0"),
    ],
)
def test_values_out_of_their_range_are_refused(name: str, value: float, message: str) -> None:
    with pytest.raises(UserError, match=f"--{name.replace('_', '-')} {value}: .*{message}"):
        TrainOptions({}, **{name: value})


def test_repeated_images_are_the_same_ones_after_a_stop(
    demo: Path, model_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    words = ["--data", str(demo), "--model", str(model_yaml), "--epochs", "2", "--rare-classes", "0.9", "--imgsz", "64"]
    words += ["--batch", "8", "--plots", "false", "--workers", "0", "--project", str(tmp_path), "--debug"]
    cli.train([*words, "--name", "whole"])
    assert any("images with rare classes come up to" in line for line in log)
    end, ended = Trainer._end_batch, []

    def stop(self: Trainer) -> None:
        end(self)
        ended.append(self.epoch)
        if len(ended) == 6:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_end_batch", stop)
        with pytest.raises(SystemExit):
            cli.train([*words, "--name", "cut"])
    assert ended[-1] == 1, "amid the second epoch"
    last = tmp_path / "cut/weights/last.pt"
    cli.train(["--resume", str(last), "--debug"])
    resumed, whole = (load_checkpoint(tmp_path / name / "weights/last.pt").weights for name in ("cut", "whole"))
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())
