"""What training does to pictures: the same whoever reads them, and nothing where nothing is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from moat_det.errors import UserError
from moat_det.pretraining.batches import load_batches, shuffled_batches
from moat_det.pretraining.classification import augment
from moat_det.pretraining.classification.augment import AugmentationOptions, BatchAugmentation, PictureAugmentation
from moat_det.pretraining.classification.dataset import PictureDataset, collate
from moat_det.pretraining.classification.folders import find_classes
from moat_det.pretraining.classification.views import view

GRAY = (0.5, 0.5, 0.5)
CPU = torch.device("cpu")


def epoch_of(pictures: Path, workers: int, epoch: int = 0, seed: int = 0) -> list[torch.Tensor]:
    data = find_classes(pictures)
    change = PictureAugmentation(AugmentationOptions(), 16, None, GRAY)
    dataset = PictureDataset(data.train, data.intensity, change, seed)
    return [images for images, _ in load_batches(dataset, shuffled_batches(24, 8, seed, epoch), workers, CPU, collate)]


def test_pictures_depend_on_seed_epoch_and_picture_alone(pictures: Path) -> None:
    first = torch.stack(epoch_of(pictures, 0))
    assert torch.equal(first, torch.stack(epoch_of(pictures, 2)))
    assert not torch.equal(first, torch.stack(epoch_of(pictures, 0, epoch=1)))
    assert not torch.equal(first, torch.stack(epoch_of(pictures, 0, seed=1)))
    assert first.dtype == torch.uint8


def test_batches_of_an_epoch() -> None:
    drawn = shuffled_batches(10, 4, 0, 3)
    assert [len(batch) for batch in drawn] == [4, 4]
    assert len({number for batch in drawn for _, number in batch}) == 8
    assert {epoch for batch in drawn for epoch, _ in batch} == {3}
    assert [len(batch) for batch in shuffled_batches(3, 4, 0, 0)] == [3]


def test_a_broken_picture_is_left_out_and_told(pictures: Path, log: list[str]) -> None:
    data = find_classes(pictures)
    broken = Path(data.train[3][0])
    broken.write_bytes(broken.read_bytes()[:60])
    dataset = PictureDataset(data.train, data.intensity, lambda p: torch.from_numpy(view(p, 8, None)).permute(2, 0, 1))
    images, labels = next(iter(load_batches(dataset, [[(0, 2), (0, 3), (0, 4)]], 0, CPU, collate)))
    assert len(images) == len(labels) == 2
    assert any(f"{broken}: left out" in line for line in log)


def test_plain_changes_nothing() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    change = PictureAugmentation(AugmentationOptions(plain=True), 16, 0.875, GRAY)
    assert torch.equal(change(picture), torch.from_numpy(view(picture, 16, 0.875)).permute(2, 0, 1))
    images, classes = torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 2, 1])
    same, targets = BatchAugmentation(AugmentationOptions(plain=True), 3)(images, classes, 0)
    assert same is images
    assert targets.argmax(1).equal(classes)
    assert targets.max() == 1


@pytest.mark.parametrize("count", [1, 4, 5])
def test_mixed_targets_are_probabilities(count: int) -> None:
    images = torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8)
    classes = torch.arange(count) % 3
    mixed, targets = BatchAugmentation(AugmentationOptions(), 3)(images, classes, 7)
    assert targets.sum(1).allclose(torch.ones(count))
    assert (count == 1) == (mixed.dtype == torch.uint8)
    again = BatchAugmentation(AugmentationOptions(), 3)(images, classes, 7)
    assert torch.equal(mixed, again[0])
    if count > 1:
        assert 0 <= mixed.min() <= mixed.max() <= 1
        assert not torch.equal(mixed, BatchAugmentation(AugmentationOptions(), 3)(images, classes, 8)[0])


def test_the_whole_picture_or_its_middle() -> None:
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:, 20:60] = (255, 0, 0)  # blue, in BGR
    middle, whole = view(picture, 20, 0.9), view(picture, 20, None)
    assert (middle == (0, 0, 255)).all()
    assert (whole[:, 0] == 0).all()
    assert (whole[:, 10] == (0, 0, 255)).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scale": 0}, "--scale 0: must be above 0"),
        ({"rand_augment": 11}, "--rand-augment 11: must be 0 or more, at most 10"),
        ({"smoothing": 1.0}, "--smoothing 1.0: must be 0 or more, below 1"),
    ],
)
def test_values_out_of_range(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        AugmentationOptions(**values)


def test_without_timm_only_plain_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "is_installed", lambda: False)
    with pytest.raises(UserError, match=r"timm.* or give --plain"):
        AugmentationOptions()
    AugmentationOptions(plain=True)
