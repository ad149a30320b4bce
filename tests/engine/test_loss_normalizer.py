from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from moat_det.data.loader.shares import Share
from moat_det.engine.distributed.group import ALONE
from moat_det.engine.loss_normalizer import LossNormalizer


class Criterion:
    """Gives 12 divided by the batch's target scores, as losses are."""

    def __init__(self) -> None:
        self.assigner = nn.Module()
        self.assigner.forward = lambda scores: (None, None, scores)  # type: ignore[method-assign]

    def loss(self, preds: Tensor, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        self.assigner(preds)
        loss = 12 / preds.sum().clamp(min=1)
        return loss, {"cls_loss": loss}


def losses(scores: list[float], normalizer: LossNormalizer, group: Any = ALONE, images: int = 4) -> list[float]:
    criterion = Criterion()
    normalizer.attach(criterion, group)
    batch = {"share": Share(0, images, 8)}
    found = [criterion.loss(torch.tensor([score]), batch) for score in scores]
    assert [float(items["cls_loss"]) for _, items in found] == pytest.approx([12 / max(each, 1) for each in scores])
    return [float(loss) for loss, _ in found]


def test_the_losses_of_alike_batches_are_what_they_were() -> None:
    assert losses([3, 3, 3], LossNormalizer(0.9)) == pytest.approx([4, 4, 4])


def test_each_object_counts_the_same_and_the_mean_follows() -> None:
    normalizer = LossNormalizer(0.5)
    assert losses([4, 2, 0], normalizer) == pytest.approx([3, 12 / 3, 12 / 1.5])
    assert normalizer.state() == 1.5
    assert losses([0], normalizer) == pytest.approx([12]), "below 1 it is 1"


def test_it_goes_on_where_it_was() -> None:
    whole, cut, resumed = (LossNormalizer(0.9) for _ in range(3))
    expected = losses([5, 1, 7, 2], whole)
    losses([5, 1], cut)
    resumed.resume(cut.state())
    assert losses([7, 2], resumed) == expected[2:]


def test_scores_are_those_of_all_processes() -> None:
    """Another process has 6; one that computes an image for nothing adds nothing."""
    group = SimpleNamespace(sum=lambda tensor: tensor + 6)
    normalizer = LossNormalizer(0.5)
    losses([2], normalizer, group)
    assert normalizer.state() == 8
    losses([2], normalizer := LossNormalizer(0.5), group, images=0)
    assert normalizer.state() == 6


def test_validation_leaves_it_alone() -> None:
    normalizer = LossNormalizer(0.5)
    with torch.no_grad():
        assert losses([4, 2], normalizer) == [3, 6]
    assert normalizer.state() is None


def test_no_number_does_not_stay() -> None:
    normalizer, criterion = LossNormalizer(0.5), Criterion()
    normalizer.attach(criterion, ALONE)
    for score in (4.0, float("nan"), 4.0):
        criterion.loss(torch.tensor([score]), {"share": Share(0, 4, 8)})
    assert normalizer.state() == 4
