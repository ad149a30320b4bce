from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from moat_det.cli.command import load_command
from moat_det.cli.main import run
from moat_det.cli.parser import parse
from moat_det.demo import generate_demo
from moat_det.detection import pictures
from moat_det.engine.batches import draw, first_batches
from moat_det.engine.model import MOAT
from moat_det.engine.trainer import Trainer

MODEL = "backbone: {name: tiny_moat0}\nneck: {channels: [16, 16, 16]}\n"


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A training in few seconds."""
    folder = tmp_path_factory.mktemp("show")
    (folder / "small.yaml").write_text(MODEL)
    data = generate_demo(folder / "demo", train=12, val=4, size=(96, 96))
    size = ["--imgsz", "64", "--batch", "6", "--epochs", "3", "--close-mosaic", "2", "--workers", "0"]
    more = ["--augmentation", "surface", "--copy-paste", "1", "--seed", "3"]
    return ["--data", str(data), "--model", str(folder / "small.yaml"), *size, *more]


def test_it_shows_what_the_training_sees(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Enough(Exception):
        pass

    seen: list[dict[str, Any]] = []
    whole = Trainer.preprocess_batch

    def remember(self: Trainer, batch: dict[str, Any]) -> dict[str, Any]:
        if self.epoch == len(seen):
            seen.append({key: value.clone() for key, value in batch.items() if isinstance(value, torch.Tensor)})
        if self.epoch == 1:
            raise Enough
        return whole(self, batch)

    arguments = parse(load_command("train"), [*words, "--project", str(tmp_path / "runs"), "--name", "seen"])
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "preprocess_batch", remember)
        engine = dict(arguments.engine)
        with pytest.raises(Enough):
            MOAT(engine.pop("model")).train(**engine, **arguments.own, plots=False)
    engine = dict(arguments.engine)
    shown = list(
        first_batches(MOAT(engine.pop("model")), {**engine, **arguments.own}, [0, 1])
    )  # mosaic is closed in the second epoch
    assert len(shown) == len(seen) == 2
    assert [run.name for run in (tmp_path / "runs").iterdir()] == ["seen"]  # drawing left none
    for (batch, names), trained in zip(shown, seen, strict=True):
        assert len(names) > 1
        for key in ("img", "cls", "bboxes", "batch_idx"):
            assert torch.equal(batch[key], trained[key])


def test_the_picture(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("show-batch", [*words, "--out", "batch.png", "--epoch", "0,1", "--columns", "4"]) == 0
    picture = cv2.imread("batch.png")
    assert picture.shape == (3 * 70 - 6, 4 * 70 - 6, 3)
    assert "12 images of 64 x 64" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["batch.png"]  # no run's folder
    monkeypatch.setattr(pictures, "_LONGEST_JPEG", 3 * 70)
    assert run("show-batch", [*words, "--out", "long.jpg", "--columns", "1", "--ray", "2"]) == 0
    assert "drawn in long.png" in capsys.readouterr().out
    assert cv2.imread("long.png").shape == (6 * 70 - 6, 64, 3)


def test_boxes_are_drawn_around_what_they_enclose() -> None:
    image = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    batch = {
        "img": image,
        "cls": torch.tensor([[1.0]]),
        "bboxes": torch.tensor([[0.5, 0.625, 0.25, 0.25]]),
        "batch_idx": torch.tensor([1.0]),
    }
    first, second = draw(batch, {0: "Kratzer", 1: "Öl 油"})
    assert not first.any()
    assert not second[32:48, 24:40].any()
    for border in (second[31, 24:40], second[48, 24:40], second[32:48, 23], second[32:48, 40]):
        assert border.any(axis=1).all()
    bands = draw({**batch, "img": torch.arange(5, dtype=torch.uint8)[:, None, None].expand(2, 5, 64, 64)}, {1: "pit"})
    assert bands[0].shape == (64, 64, 3)
    assert np.unique(bands[0].reshape(-1, 3), axis=0).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--out", "batch.gif"], "must end in .jpg or .png"),
        (["--out", "b.png", "--columns", "0"], "--columns 0"),
        (["--out", "b.png", "--epoch", "0,x"], "--epoch 0,x"),
        (["--out", "b.png", "--epoch", "0,1000"], "--epoch 1000: the epochs of this training are 0 to"),
        (["--out", f"{__file__}/b.png"], "cannot be written"),
        (["--out", "b.png", "--augmentation", "surfaces"], "did you mean 'surface'"),
        (["--out", "b.png", "--batch", "-1"], "--batch -1"),
        (["--out", "b.png", "--resume", "last.pt"], "--resume"),
        (["--out", "b.png", "--epocs", "3"], "did you mean --epochs"),
    ],
)
def test_a_mistake_ends_in_one_line(words: list[str], more: list[str], message: str, capsys: Any) -> None:
    flags = set(more[2::2])
    kept = [w for i in range(0, len(words), 2) for w in words[i : i + 2] if words[i] not in flags]
    assert run("show-batch", [*kept, *more]) == 2
    error = capsys.readouterr().err
    assert error.startswith("show-batch: ")
    assert message in error
    assert error.count("\n") == 1


def test_what_it_does_not_take_is_not_listed(capsys: Any) -> None:
    with pytest.raises(SystemExit):
        run("show-batch", ["--help"])
    assert "--resume" not in capsys.readouterr().out
    assert run("show-batch", ["--data", "demo", "--out", "b.png", "--resume"]) == 2
    assert "it belongs to moat train" in capsys.readouterr().err
