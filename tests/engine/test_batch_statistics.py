"""How fast the batch statistics follow the first steps of a training."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import save_file
from torch import nn

from moat_det.engine import MOAT
from moat_det.engine.trainer import Trainer


def begin(demo: Path, model: Path, project: Path, **options: object) -> tuple[Trainer, nn.BatchNorm2d]:
    """Begin the first epoch of a training; gives one of its norms too."""
    trainer = MOAT(model).make_trainer(
        data=str(demo), imgsz=64, batch=8, plots=False, workers=0, project=str(project), **options
    )
    trainer._setup_train()
    trainer.epoch = 0
    trainer._model_train()
    return trainer, next(module for module in trainer.model.modules() if isinstance(module, nn.BatchNorm2d))


def test_they_follow_the_first_steps_in_proportion_to_their_number(
    demo: Path, model_yaml: Path, tmp_path: Path
) -> None:
    trainer, norm = begin(demo, model_yaml, tmp_path)
    batch = next(iter(trainer.train_loader))
    used = []
    assert norm.num_batches_tracked is not None
    for steps in (0, 1, 2, 48, 1000):
        norm.num_batches_tracked.fill_(steps)
        trainer.preprocess_batch(dict(batch))
        used.append(norm.momentum)
    assert used == pytest.approx([1, 2 / 3, 1 / 2, 0.04, 0.03])


def test_a_model_that_has_learnt_keeps_its_own(demo: Path, trained: Path, tmp_path: Path) -> None:
    best = trained / "weights" / "best.pt"
    trainer, norm = begin(demo, trained / "weights" / "best.pt", tmp_path, weights=str(best))
    trainer.preprocess_batch(dict(next(iter(trainer.train_loader))))
    assert norm.momentum == 0.03


def test_a_checkpoint_knows_how_many_batches_its_norms_have_seen(demo: Path, trained: Path, tmp_path: Path) -> None:
    best = trained / "weights" / "best.pt"
    trainer, _ = begin(demo, best, tmp_path, weights=str(best))
    trainer.preprocess_batch(dict(next(iter(trainer.train_loader))))
    norms = [m for m in trainer.model.modules() if isinstance(m, nn.BatchNorm2d)]
    seen = {int(norm.num_batches_tracked) for norm in norms if norm.num_batches_tracked is not None}
    assert min(seen) > 0
    head = trainer.model.head.modules()
    assert {m.momentum for m in head if isinstance(m, nn.BatchNorm2d)} == {max(0.03, 2 / (2 + min(seen)))}


def test_a_compiled_model_is_not_compiled_anew_for_each_momentum(demo: Path, model_yaml: Path, tmp_path: Path) -> None:
    trainer, _ = begin(demo, model_yaml, tmp_path)
    trainer.args.compile = "default"
    trainer._model_train()
    batch = next(iter(trainer.train_loader))
    momenta = set()
    for _ in range(3):
        images = trainer.preprocess_batch(dict(batch))["img"]
        trainer.model(images)
        momenta |= {m.momentum for m in trainer.model.modules() if isinstance(m, nn.BatchNorm2d)}
    assert momenta == {0.03}


def test_where_the_backbone_alone_has_learnt_neck_and_head_follow(demo: Path, model_yaml: Path, tmp_path: Path) -> None:
    weights = tmp_path / "backbone.safetensors"
    save_file(MOAT(model_yaml).model.backbone.state_dict(), weights)
    trainer, norm = begin(demo, model_yaml, tmp_path, weights=str(weights))
    trainer.preprocess_batch(dict(next(iter(trainer.train_loader))))
    assert norm.momentum == 0.03
    momenta = {m.momentum for m in trainer.model.neck.modules() if isinstance(m, nn.BatchNorm2d)}
    assert momenta == {1.0}
