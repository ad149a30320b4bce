from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.datasets import open_dataset
from moat_det.data.loader.good_parts import GoodParts, expected_objects
from moat_det.data.loader.loader import make_loader
from moat_det.data.loader.rare_classes import repeat_factors
from moat_det.errors import UserError

CPU = torch.device("cpu")
MakeSet = Callable[[dict[str, str | None]], Path]


def labels(*classes: list[int]) -> list[dict[str, Any]]:
    return [{"cls": np.array(each, float).reshape(-1, 1)} for each in classes]


def test_factors_are_those_of_lvis() -> None:
    """Of 20 images with objects all have class 0, two class 1, one of these class 2; beside them are good parts."""
    data = labels(*[[0]] * 18, [0, 1, 1], [0, 1, 2], *[[]] * 80)
    factors = repeat_factors(data, threshold=0.4)
    assert factors[:18].tolist() == [1] * 18
    assert factors[18] == pytest.approx(math.sqrt(0.4 / 0.1))
    assert factors[19] == pytest.approx(math.sqrt(0.4 / 0.05)), "that of its rarest class"
    assert factors[20:].tolist() == [1] * 80
    assert repeat_factors(data, threshold=0).tolist() == [1] * 100


def test_counts_of_an_epoch_follow_the_factors() -> None:
    data = labels(*[[0]] * 37, *[[1]] * 3, *[[]] * 40)
    factors = repeat_factors(data, threshold=0.5)
    rare = math.sqrt(0.5 / (3 / 40))  # 2.58
    chosen = GoodParts(data, share=0.25, seed=0, rare=0.5)
    assert chosen.with_objects == math.ceil(37 + 3 * rare)
    assert chosen.drawn == round(chosen.with_objects / 3)
    total: Counter[int] = Counter()
    for epoch in range(200):
        order = chosen.order(epoch)
        assert len(order) == len(chosen)
        repeated = [position for position in order if len(data[position % 80]["cls"])]
        assert len(set(repeated)) == len(repeated), "each repetition has a position of its own"
        counts = Counter(position % len(data) for position in order)
        assert all(0 <= counts[image] - math.floor(factors[image]) <= 1 for image in range(40))
        assert sorted(position // 80 for position in order if position % 80 == 38) == list(range(counts[38]))
        total += counts
    for image in (37, 38, 39):
        assert total[image] / 200 == pytest.approx(rare, rel=0.04)
    assert set(total) == set(range(80))


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    data = labels(*[[0]] * 20, [1], *[[]] * 10)
    one, other = GoodParts(data, None, 1, 0.3), GoodParts(data, None, 1, 0.3)
    assert one.order(4) == other.order(4)
    assert one.order(4) != one.order(5)
    assert GoodParts(data, None, 1, 0.01).order(4) == GoodParts(data, None, 1).order(4), "no class is rare"


def test_the_first_scores_count_repeated_objects() -> None:
    data = labels([0, 1], [0], [])
    assert expected_objects(data, 2, images=5, repeats=np.array([2.0, 1.0, 1.0])) == [3 / 5, 2 / 5]


@pytest.fixture
def source(make_set: MakeSet) -> Path:
    names = {f"{i:02}.png": "0 0.5 0.5 0.25 0.5\n" for i in range(11)}
    return make_set({**names, "11.png": "1 0.5 0.5 0.25 0.5\n"})


def open_train(source: Path, **settings: Any) -> Any:
    return open_dataset(source, batch=4, on_broken="replace", **{"mosaic": 0.0, "degrees": 0.0, **settings})


@pytest.mark.parametrize("workers", [0, 2])
def test_each_repetition_is_augmented_anew(source: Path, workers: int) -> None:
    dataset = open_train(source, rare_classes=0.75, scale=0.5, translate=0.2)
    loader = make_loader(dataset, workers, CPU, shuffle=True)
    assert len(loader) == 4  # eleven images, and one sqrt(0.75 * 12) = 3 times
    loader.start_epoch(3)
    drawn = [pair for batch in loader for pair in zip(batch["img"], batch["im_file"], strict=True)]
    images = [image for image, file in drawn if Path(file).stem == "11"]
    loader.close()
    assert len(images) == 3
    assert len({image.numpy().tobytes() for image in images}) == 3


def test_the_ranks_have_the_repetitions_in_common(source: Path) -> None:
    def files(rank: int, ranks: int) -> list[str]:
        loader = make_loader(open_train(source, rare_classes=0.75), 0, CPU, shuffle=True, rank=rank, ranks=ranks)
        loader.start_epoch(1)
        return [file for batch in loader for file in batch["im_file"]]

    assert sorted(files(0, 2) + files(1, 2)) == sorted(files(0, 1))


def test_partners_of_a_mosaic_are_drawn_alike(source: Path) -> None:
    import random

    dataset = open_train(source, rare_classes=0.75, mosaic=1.0)
    random.seed(0)
    assert np.mean([dataset.partner() == 11 for _ in range(1000)]) == pytest.approx(3 / 14, abs=0.04)


def test_rectangles_take_every_image_once(source: Path) -> None:
    with pytest.raises(UserError, match="--rare-classes: with --rect"):
        open_train(source, rect=True, rare_classes=0.3)
