"""The number format of a training follows what this model trains faster in."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from moat_det import MOAT
from moat_det.detector import precision
from moat_det.engine import trainer
from moat_det.engine.checkpoint import load_checkpoint
from moat_det.engine.device import is_mixed
from moat_det.engine.fastest_format import timed_images, trains_faster_reduced
from moat_det.engine.train_options import TrainOptions


class _Clock:
    now = 0.0

    def __deepcopy__(self, memo: dict[int, Any]) -> _Clock:
        return self


class _Timed(nn.Module):
    """A model on a clock of its own: a step in each format takes what is said."""

    def __init__(self, clock: _Clock, seconds: dict[torch.dtype, float]) -> None:
        super().__init__()
        self.clock, self.seconds, self.dtype = clock, seconds, torch.bfloat16
        self.conv, self.norm = nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        self.clock.now += self.seconds[self.dtype]
        return {"boxes": self.norm(self.conv(x))}


@pytest.mark.parametrize(
    ("bfloat16", "float32", "keeps"), [(1.0, 2.0, True), (2.0, 1.0, False), (1.02, 1.0, True), (1.1, 1.0, False)]
)
def test_float32_is_taken_only_where_it_is_clearly_faster(
    bfloat16: float, float32: float, keeps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = _Clock()
    monkeypatch.setattr(time, "process_time", lambda: clock.now)
    model = _Timed(clock, {torch.bfloat16: bfloat16, torch.float32: float32})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.random.get_rng_state()
    kept, words = trains_faster_reduced(model, (2, 8, 8), 16)
    assert kept is keeps
    assert words.startswith(f"trained in {'bfloat16' if keeps else 'float32'}")
    # The training that follows is the one that it would have been.
    assert model.dtype == torch.bfloat16
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(random, torch.random.get_rng_state())


def test_where_the_cpu_of_one_process_has_no_other_format_all_train_in_float32() -> None:
    """The first of two processes has bfloat16, the other has not."""
    prepared: list[bool] = []
    model = _Timed(_Clock(), {})
    model.engine_recipe, model.prepare = False, lambda device, mixed, training: prepared.append(mixed)  # type: ignore[assignment]
    asked: list[bool] = []

    def any_of_both(value: bool) -> bool:
        asked.append(value)
        return True

    loader = SimpleNamespace(dataset=range(24))
    group = SimpleNamespace(any=any_of_both, size=2)
    options = replace(TrainOptions(config={}), choose_format=True)
    first = SimpleNamespace(
        model=model, train_loader=loader, epochs=2, group=group, _options=options, device=torch.device("cpu")
    )
    trainer.Trainer._choose_format(first)  # type: ignore[arg-type]
    assert asked == [True, False]
    assert prepared == [False]
    assert first._options.mixed is False


def test_a_training_takes_what_was_chosen_and_its_checkpoints_say_so(
    demo: Path, model_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(precision, "cpu_computes_bfloat16", lambda: True)
    monkeypatch.setattr(trainer, "WORTH_IT", 24)
    asked: list[tuple[int, int, int]] = []

    def measured(model: Any, shape: tuple[int, int, int], images: int) -> tuple[bool, str]:
        asked.append(shape)
        return False, "trained in float32: said"

    monkeypatch.setattr(trainer, "trains_faster_reduced", measured)
    formats: list[object] = []
    model = MOAT(str(model_yaml))
    model.add_callback("on_train_epoch_start", lambda trainer: formats.append(trainer.model.dtype))
    model.add_callback("on_fit_epoch_end", lambda trainer: formats.append(trainer.validator.args.amp))
    with caplog.at_level(logging.INFO, "moat_det"):
        logging.getLogger("moat_det").addHandler(caplog.handler)
        model.train(
            data=str(demo), imgsz=64, epochs=1, batch=8, project=str(tmp_path), plots=False, workers=0, device="cpu"
        )
        logging.getLogger("moat_det").removeHandler(caplog.handler)
    assert asked == [(3, 64, 64)]
    assert "trained in float32: said" in caplog.text
    assert formats[:2] == [torch.float32, False]
    assert load_checkpoint(tmp_path / "train" / "weights" / "last.pt").args["amp"] is False


@pytest.mark.parametrize(("worth_it", "amp"), [(25, True), (1, "bf16")], ids=["too short", "asked for"])
def test_a_short_training_and_one_in_a_given_format_are_not_measured(
    worth_it: int, amp: bool | str, demo: Path, model_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "cpu_computes_bfloat16", lambda: True)
    monkeypatch.setattr(trainer, "WORTH_IT", worth_it)
    monkeypatch.setattr(trainer, "trains_faster_reduced", lambda *_: pytest.fail("measured"))
    words = {
        "data": str(demo),
        "imgsz": 64,
        "epochs": 1,
        "batch": 8,
        "plots": False,
        "workers": 0,
        "val": False,
        "device": "cpu",
    }
    MOAT(str(model_yaml)).train(**words, project=str(tmp_path), amp=amp)
    assert is_mixed(load_checkpoint(tmp_path / "train" / "weights" / "last.pt").args["amp"])


def test_one_image_of_one_cell_is_measured_without_its_statistics() -> None:
    clock = _Clock()
    model = _Timed(clock, {torch.bfloat16: 1.0, torch.float32: 2.0})
    assert trains_faster_reduced(model, (2, 1, 1), 1)[1].startswith("trained in ")


def test_small_images_are_timed_in_larger_batches() -> None:
    """Four of 224 px have as many pixels as 32 of 79 px; of fewer, norms hold their statistics."""
    assert [timed_images(32, side, side) for side in (64, 160, 224, 640)] == [32, 7, 4, 4]
    assert timed_images(2, 64, 64) == 2
