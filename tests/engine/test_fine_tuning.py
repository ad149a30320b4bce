"""What a training starts from; the backbone held still; layer decay in a real run."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from moat_det.backbones import create_backbone
from moat_det.backbones.weights import load_pretrained
from moat_det.cli import main as cli
from moat_det.detector.build import build_model
from moat_det.detector.detector import Detector
from moat_det.engine.checkpoint import load_checkpoint
from moat_det.engine.fine_tuning import load_weights, set_backbone_training
from moat_det.engine.optimizer import build_optimizer
from moat_det.engine.trainer import Trainer
from moat_det.errors import UserError

SMALL = ["--imgsz", "64", "--batch", "8", "--plots", "false", "--workers", "0", "--debug"]
CONFIG = {"backbone": "tiny_moat0", "neck": {"channels": [16, 16, 16]}}


def small_detector(names: Sequence[str]) -> Detector:
    model = build_model(CONFIG, len(names), dict(enumerate(names)))
    assert isinstance(model, Detector)
    return model


def train(*words: object) -> None:
    cli.train([str(word) for word in words] + SMALL)


@pytest.fixture(scope="module")
def run(trained: Path, demo: Path, model_yaml: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tuning of three epochs, the first two with the backbone held still, with a checkpoint of each."""
    project = tmp_path_factory.mktemp("fine_tuning")
    best = trained / "weights" / "best.pt"
    train(
        *("--data", demo, "--model", model_yaml, "--weights", best, "--freeze-backbone", 2, "--layer-decay", 0.8),
        *("--epochs", 3, "--close-mosaic", 0, "--save-period", 1, "--val", "false", "--project", project),
    )
    return project / "train"


def raw_weights(path: Path) -> dict[str, torch.Tensor]:
    training = load_checkpoint(path).training
    assert training is not None
    return training["weights"]


def test_the_backbone_is_held_still_and_then_trains(trained: Path, run: Path) -> None:
    before = load_checkpoint(trained / "weights" / "best.pt").weights
    held, free = (raw_weights(run / "weights" / f"epoch{epoch}.pt") for epoch in (2, 3))
    backbone = [name for name in before if name.startswith("model.backbone.")]
    assert any(name.endswith("running_var") for name in backbone)
    assert [name for name in backbone if not torch.equal(held[name], before[name])] == []
    assert [name for name in backbone if torch.equal(free[name], before[name])] == []
    assert not torch.equal(held["model.neck.down3.conv.weight"], before["model.neck.down3.conv.weight"])


def test_a_table_of_results_has_two_learning_rates(run: Path) -> None:
    header, *rows = (run / "results.csv").read_text().splitlines()
    rates = [column for column in header.split(",") if column.startswith("lr/")]
    assert rates == ["lr/pg0", "lr/pg1"]
    assert [row.count(",") for row in rows] == [header.count(",")] * 3
    last = dict(zip(header.split(","), rows[-1].split(","), strict=True))
    cosine = (1 - math.cos(2 / 3 * math.pi)) / 2 * (0.01 - 1) + 1
    assert float(last["lr/pg0"]) == pytest.approx(0.001 * cosine, rel=1e-4)


@pytest.mark.parametrize("epoch", [1, 2], ids=["while it is held", "when it begins to train"])
def test_a_resumed_fine_tuning_equals_an_uninterrupted_one(run: Path, epoch: int, tmp_path: Path) -> None:
    cut = tmp_path / "train"
    (cut / "weights").mkdir(parents=True)
    shutil.copy(run / "weights" / f"epoch{epoch}.pt", cut / "weights" / "last.pt")
    train("--resume", cut / "weights" / "last.pt", "--layer-decay", 0.5)  # which it keeps as it was, and says so
    whole, resumed = (load_checkpoint(folder / "weights" / "last.pt").weights for folder in (run, cut))
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []


def test_a_checkpoint_from_before_these_options_resumes_without_them(run: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(run / "weights" / "epoch2.pt")
    assert checkpoint.training is not None
    del checkpoint.training["options"]
    (tmp_path / "train" / "weights").mkdir(parents=True)
    old = tmp_path / "train" / "weights" / "last.pt"
    checkpoint.save(old)
    trainer = Trainer(overrides={"resume": str(old), "project": str(tmp_path)})
    trainer.setup_model()
    assert len(trainer.build_optimizer(trainer.model).param_groups) == 2


def test_no_graph_is_built_through_a_held_backbone() -> None:
    model = small_detector(["scratch", "pit"]).train()
    fixed = model.backbone.stem.conv_0.weight
    fixed.requires_grad_(False)  # as --freeze does, before the optimizer is built
    optimizer = build_optimizer(model, "AdamW", lr=1e-3, momentum=0.9, decay=0.02, layer_decay=0.9)

    set_backbone_training(model.backbone, optimizer, trains=False)
    levels = model.backbone(torch.rand(2, 3, 64, 64))
    assert not any(level.requires_grad for level in levels.values())
    assert not any(module.training for module in model.backbone.modules())
    model(torch.rand(2, 3, 64, 64))["boxes"].sum().backward()
    assert all(parameter.grad is None for parameter in model.backbone.parameters())
    assert model.model.neck.down3.conv.weight.grad is not None
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    optimizer.step()
    assert all(torch.equal(before[name], value) for name, value in model.backbone.state_dict().items()), "it decayed"

    model.train()
    set_backbone_training(model.backbone, optimizer, trains=True)
    assert all(parameter.requires_grad == (parameter is not fixed) for parameter in model.backbone.parameters())
    assert all(module.training for module in model.backbone.modules())


SCORES = [f"model.head.cv3.{level}.2.{kind}" for level in range(3) for kind in ("weight", "bias")]


@pytest.mark.parametrize(
    ("names", "rows", "said"),
    [
        # The classes of the file are scratch, pit, stain, missing_pad.
        (["scratch", "pit", "stain", "missing_pad"], [0, 1, 2, 3], "dropped nothing; left at random nothing"),
        (["pit", "scratch", "missing_pad", "stain"], [1, 0, 3, 2], "dropped nothing; left at random nothing"),
        (
            ["crack", "Stain"],
            [None, 2],
            "dropped the scores of scratch, the scores of pit, the scores of missing_pad; "
            "left at random the scores of crack",
        ),
        (
            ["crack", "hole"],
            [None, None],
            "dropped head.cv3.0.2, head.cv3.1.2, head.cv3.2.2; left at random head.cv3.0.2, head.cv3.1.2, head.cv3.2.2",
        ),
        (
            ["crack", "hole", "dent", "burr"],
            [0, 1, 2, 3],
            "dropped nothing; left at random nothing; the scores of scratch, the scores of pit, the scores of stain, "
            "the scores of missing_pad are those of crack, hole, dent, burr now",
        ),
    ],
    ids=["the same", "another order", "one shared", "none shared", "none shared of as many"],
)
def test_a_detector_of_other_classes(
    names: list[str], rows: list[int | None], said: str, trained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, path = small_detector(names), trained / "weights" / "best.pt"
    model.head.bias_init(64)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with caplog.at_level("INFO", logger="moat_det"):
        load_weights(model, str(path), remap_classes=True)
    stored, after = load_checkpoint(path).weights, model.state_dict()
    assert [name for name in after if name not in SCORES and not torch.equal(after[name], stored[name])] == []
    for name in SCORES:
        for index, row in enumerate(rows):
            expected = before[name][index] if row is None else stored[name][row]
            assert torch.equal(after[name][index], expected), (name, index)
    first, second = (record.getMessage() for record in caplog.records)
    assert first.endswith(f"tensors loaded from {path}")
    assert second == f"detector: {said}"


def test_a_detector_goes_by_names(trained: Path) -> None:
    with pytest.raises(UserError, match=r"--weights-by-order: .*best\.pt is a detector of ours"):
        load_weights(small_detector(["pit"]), str(trained / "weights" / "best.pt"), remap_classes=True, by_order=True)


def test_without_cls_remap_classes_keep_their_numbers(trained: Path) -> None:
    model, path = small_detector(["pit", "scratch", "missing_pad", "stain"]), trained / "weights" / "best.pt"
    load_weights(model, str(path), remap_classes=False)
    stored = load_checkpoint(path).weights
    assert all(torch.equal(model.state_dict()[name], stored[name]) for name in SCORES)


@pytest.fixture
def golden(shared: Path) -> Path:
    return shared / "golden" / "tiny_moat_0" / "tiny_moat_0.tar.gz"


def test_backbone_weights_of_the_official_format(
    golden: Path, demo: Path, model_yaml: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="moat_det"):
        train(
            *("--data", demo, "--model", model_yaml, "--weights", golden, "--freeze-backbone", 1, "--epochs", 1),
            *("--save-period", 1, "--project", tmp_path),
        )
    said = [record.getMessage() for record in caplog.records]
    first = next(index for index, message in enumerate(said) if golden.name in message and "loaded" in message)
    assert "neck and head left at random" in said[first + 1]
    official = create_backbone("tiny_moat0")
    load_pretrained(official, str(golden))
    weights = raw_weights(tmp_path / "train" / "weights" / "epoch1.pt")
    differing = [
        name
        for name, value in official.state_dict().items()
        if not torch.equal(value, weights[f"model.backbone.{name}"])
    ]
    assert differing == []


def test_bins_that_stand_for_other_distances_are_not_loaded(trained: Path) -> None:
    best = trained / "weights" / "best.pt"
    checkpoint = load_checkpoint(best)
    model = build_model({**CONFIG, "head": {"reach": 64}}, len(checkpoint.names))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    load_weights(model, str(best), remap_classes=False)
    after = model.state_dict()
    kept = {name for name in before if torch.equal(after[name], before[name])}
    bins = {f"model.head.cv2.{level}.2.{kind}" for level in range(3) for kind in ("weight", "bias")}
    assert bins <= kept
    assert torch.equal(after["model.head.cv2.0.1.conv.weight"], checkpoint.weights["model.head.cv2.0.1.conv.weight"])
