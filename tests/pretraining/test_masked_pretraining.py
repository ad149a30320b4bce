"""Whole trainings on pictures without labels."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.dataset_files import noise
from moat_det.backbones import create_backbone
from moat_det.backbones.weights import load_pretrained
from moat_det.cli.main import run
from moat_det.errors import UserError
from moat_det.pretraining.checkpoint import load_backbone_checkpoint
from moat_det.pretraining.masked.options import MaskedOptions
from moat_det.pretraining.masked.pretrain import pretrain, resume_pretraining
from moat_det.pretraining.masked.task import NAME, MaskedTask
from moat_det.pretraining.options import LoopOptions, RunPlace

SMALL = {"depths": (1, 1, 1, 1), "channels": (8, 8, 32, 32), "stem": (8, 8)}
YAML = """
backbone: {name: small, base: tiny_moat0, depths: [1, 1, 1, 1], channels: [8, 8, 32, 32], stem: [8, 8]}
neck: {channels: [8, 8, 8]}
"""


@pytest.fixture
def arguments(tmp_path: Path) -> tuple[MaskedOptions, LoopOptions, RunPlace]:
    """Of a training of two epochs with three batches each."""
    (tmp_path / "parts").mkdir()
    for seed in range(7):
        noise(80, 80, seed).save(tmp_path / "parts" / f"{seed}.png")
    (tmp_path / "small.yaml").write_text(YAML)
    options = MaskedOptions(str(tmp_path / "parts"), backbone=str(tmp_path / "small.yaml"), imgsz=64)
    place = RunPlace(device="cpu", workers=0, project=str(tmp_path / "runs"))
    return options, LoopOptions(epochs=2, batch=2, lr0=1e-2), place


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return load_backbone_checkpoint(checkpoint, NAME).weights


def test_a_run_leaves_a_checkpoint_a_log_and_sheets(arguments: Any, tmp_path: Path) -> None:
    last = pretrain(*arguments)
    assert last == tmp_path / "runs" / "pretrain" / "weights" / "last.pt"
    checkpoint = load_backbone_checkpoint(last, NAME)
    assert checkpoint.training is None
    assert checkpoint.backbone["base"] == "tiny_moat0"
    with (last.parents[1] / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(0 < float(row[key]) < 5 for row in rows for key in ("loss", "stride8", "stride32", "mean_gray"))
    assert {path.name for path in (last.parents[1] / "reconstructions").iterdir()} == {"epoch0001.jpg", "epoch0002.jpg"}
    backbone = create_backbone("small", base="tiny_moat0", **SMALL)
    report = load_pretrained(backbone, last)
    assert not report.random
    assert not report.dropped
    kernel = "stem.conv_0.weight"
    assert torch.equal(backbone.state_dict()[kernel], weights(last)[f"backbone.{kernel}"])


def test_statistics_are_those_of_whole_pictures(arguments: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settled = weights(pretrain(*arguments))
    monkeypatch.setattr(MaskedTask, "finish", lambda *_: None)
    plain = weights(pretrain(*arguments))
    first = next(name for name in plain if name.startswith("backbone.") and name.endswith("running_var"))
    # A picture of noise has a variance that flat patches in the place of more than half of it do not have.
    assert settled[first].mean() > 1.3 * plain[first].mean()
    learnt = [name for name in plain if "running_" not in name and "num_batches" not in name]
    assert all(torch.equal(plain[name], settled[name]) for name in learnt)


@pytest.mark.parametrize("steps", [2, 4], ids=["amid the first epoch", "amid the second"])
def test_a_resumed_run_is_the_uncut_one_bit_for_bit(
    arguments: Any, steps: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    uncut = weights(pretrain(*arguments))
    options, loop, place = arguments
    count, loss = 0, MaskedTask.loss

    def stop(self: MaskedTask, model: torch.nn.Module, pair: Any) -> torch.Tensor:
        nonlocal count
        count += 1
        if count > steps:
            raise KeyboardInterrupt
        return loss(self, model, pair)

    monkeypatch.setattr(MaskedTask, "loss", stop)
    place = RunPlace(**{**vars(place), "name": "cut", "save_minutes": 1e-9})
    with pytest.raises(KeyboardInterrupt):
        pretrain(options, loop, place)
    monkeypatch.undo()
    last = tmp_path / "runs" / "cut" / "weights" / "last.pt"
    noise(80, 80).save(tmp_path / "parts" / "new.png")
    with pytest.raises(UserError, match="holds 8 readable pictures, and held 7"):
        resume_pretraining(last, place)
    (tmp_path / "parts" / "0.png").rename(tmp_path / "parts" / "other.png")
    (tmp_path / "parts" / "new.png").unlink()
    with pytest.raises(UserError, match="holds other pictures than when the run began"):
        resume_pretraining(last, place)
    (tmp_path / "parts" / "other.png").rename(tmp_path / "parts" / "0.png")
    torch.use_deterministic_algorithms(False)
    flags = set()

    def note(self: MaskedTask, model: torch.nn.Module, pair: Any) -> torch.Tensor:
        flags.add(torch.are_deterministic_algorithms_enabled())
        return loss(self, model, pair)

    monkeypatch.setattr(MaskedTask, "loss", note)
    cut = weights(resume_pretraining(last, place))
    assert all(torch.equal(cut[name], tensor) for name, tensor in uncut.items())
    assert flags == {True}, "as in the uncut one"


def test_workers_change_nothing(arguments: Any) -> None:
    options, loop, place = arguments
    alone = weights(pretrain(*arguments))
    helped = weights(pretrain(options, loop, RunPlace(**{**vars(place), "workers": 2})))
    assert all(torch.equal(helped[name], tensor) for name, tensor in alone.items())


def test_another_backbone_and_other_bands(arguments: Any) -> None:
    pytest.importorskip("timm")
    options, _, place = arguments
    options = MaskedOptions(**{**vars(options), "backbone": "timm/mobilevit_xxs", "channels": 1})
    last = pretrain(options, LoopOptions(epochs=1, batch=4), place)
    backbone = create_backbone("timm/mobilevit_xxs", in_channels=1)
    load_pretrained(backbone, last)
    loaded = {f"backbone.{name}": tensor for name, tensor in backbone.state_dict().items()}
    learnt = {name: tensor for name, tensor in weights(last).items() if "num_batches" not in name and name in loaded}
    assert len(learnt) > 200
    assert all(torch.equal(loaded[name], tensor) for name, tensor in learnt.items())


def test_a_finished_run_is_not_resumed_but_another_starts_from_it(arguments: Any) -> None:
    options, loop, place = arguments
    last = pretrain(*arguments)
    with pytest.raises(UserError, match=r"finished training.*--weights"):
        resume_pretraining(last, place)
    before = load_backbone_checkpoint(last, NAME).weights
    again = pretrain(MaskedOptions(**{**vars(options), "weights": str(last)}), loop, place)
    assert again != last
    assert not torch.equal(weights(again)["backbone.stem.conv_0.weight"], before["backbone.stem.conv_0.weight"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epochs", "2"], "needs --source"),
        (["--source", "nowhere"], "no such folder"),
        (["--source", ".", "--imgsz", "100"], "--imgsz 100: must be a multiple of 32"),
        (["--source", ".", "--mask-ratio", "1"], "--mask-ratio 1: must be above 0, below 1"),
        (["--source", ".", "--intensity", "5"], "--intensity"),
        (["--source", ".", "--seed", "4294967296"], "--seed 4294967296: must be 0 or more, below 4294967296"),
        (["--source", ".", "--backbone", "moat9"], "no model is named 'moat9'"),
        (["--source", ".", "--backbone", "yolo11n.yaml"], "one of the engine's models"),
        (["--resume", "last.pt", "--batch", "3"], "--batch: a run that is resumed keeps its own"),
        (["--resume", "last.pt"], "no weights at last.pt"),
    ],
)
def test_mistakes_end_in_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    noise(80, 80).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert run("pretrain", words) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "runs").exists()
