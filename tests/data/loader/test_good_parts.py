from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.datasets import open_dataset
from moat_det.data.loader.dataset import DetectionDataset
from moat_det.data.loader.good_parts import GoodParts, expected_objects
from moat_det.data.loader.loader import make_loader
from moat_det.errors import UserError

MakeSet = Callable[[dict[str, str | None]], Path]
CPU = torch.device("cpu")
BOX = np.zeros((1, 1))


def labels(good: int, others: int) -> list[dict[str, Any]]:
    """Mixed through one another, as folders have them."""
    kinds = [BOX[:0]] * good + [BOX] * others
    random.Random(0).shuffle(kinds)
    return [{"cls": kind} for kind in kinds]


def kinds_of(images: list[int], of: list[dict[str, Any]]) -> list[bool]:
    return [len(of[image]["cls"]) == 0 for image in images]


def test_every_object_comes_and_the_good_parts_take_turns() -> None:
    data = labels(good=70, others=30)
    chosen = GoodParts(data, share=0.25, seed=0)
    assert (len(chosen), chosen.drawn) == (40, 10)
    seen: Counter[int] = Counter()
    for epoch in range(7):
        order = chosen.order(epoch)
        good = [image for image, empty in zip(order, kinds_of(order, data), strict=True) if empty]
        assert len(good) == 10
        assert sorted(set(order) - set(good)) == [i for i, label in enumerate(data) if len(label["cls"])]
        seen.update(good)
    assert set(seen.values()) == {1}
    assert len(seen) == 70  # all of them, before one comes again


def test_turns_go_on_where_an_epoch_does_not_divide_them() -> None:
    data = labels(good=7, others=3)
    chosen = GoodParts(data, share=0.5, seed=0)
    seen = Counter(image for epoch in range(7) for image in chosen.order(epoch) if not len(data[image]["cls"]))
    assert set(seen.values()) == {3}  # 7 epochs of 3


def test_each_batch_has_its_part_of_either() -> None:
    data = labels(good=950, others=50)
    chosen = GoodParts(data, share=0.5, seed=3)
    order = chosen.order(5)
    counts = [sum(kinds_of(order[i : i + 10], data)) for i in range(0, 100, 10)]
    assert min(counts) >= 3
    assert max(counts) <= 7


@pytest.mark.parametrize(("good", "others", "drawn"), [(25, 75, 25), (50, 50, 50), (70, 30, 30), (99, 1, 1)])
def test_the_share_of_the_data_up_to_a_half(good: int, others: int, drawn: int) -> None:
    assert GoodParts(labels(good, others), None, 0).drawn == drawn


def test_none_and_all() -> None:
    data = labels(good=6, others=4)
    none = GoodParts(data, 0.0, 0)
    assert not any(kinds_of(none.order(1), data))
    assert len(none) == 4
    assert GoodParts(data, 0.99, 0).drawn == 6


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    data = labels(good=70, others=30)
    one, other = GoodParts(data, 0.5, 1), GoodParts(data, 0.5, 1)
    assert one.order(4) == other.order(4)
    assert one.order(3) != one.order(4)
    assert one.order(4) != GoodParts(data, 0.5, 2).order(4)


def test_expected_objects() -> None:
    found = [{"cls": np.array([[0], [0], [2]])}, {"cls": BOX[:0]}, {"cls": np.array([[2]])}]
    assert expected_objects(found, 3, images=2) == [1.0, 0.25, 1.0]


def open_train(source: Path, **settings: Any) -> DetectionDataset:
    return open_dataset(source, batch=4, on_broken="replace", **{"mosaic": 0.0, "degrees": 0.0, **settings})


@pytest.fixture
def mostly_good(make_set: MakeSet) -> Path:
    return make_set({f"{i:02}.png": "0 0.5 0.5 0.25 0.5\n" if i % 5 == 0 else "" for i in range(20)})


def test_batches_of_data_that_is_mostly_good(mostly_good: Path) -> None:
    dataset = open_train(mostly_good)
    loader = make_loader(dataset, 0, CPU, shuffle=True)
    assert len(loader) == 2  # four images with a box and four good ones
    loader.start_epoch(0)
    first = [list(batch["im_file"]) for batch in loader]
    loader.start_epoch(1)
    second = [list(batch["im_file"]) for batch in loader]
    assert [len(batch) for batch in (*first, *second)] == [4, 4, 4, 4]
    names = [{Path(file).stem for batch in epoch for file in batch} for epoch in (first, second)]
    assert names[0] & names[1] == {"00", "05", "10", "15"}
    later = make_loader(open_train(mostly_good), 0, CPU, shuffle=True)
    later.start_epoch(1)
    assert [list(batch["im_file"]) for batch in later] == second


def test_partners_of_a_mosaic_are_drawn_alike(mostly_good: Path) -> None:
    dataset = open_train(mostly_good, mosaic=1.0)
    random.seed(0)
    drawn = [len(dataset.labels[dataset.partner()]["cls"]) for _ in range(400)]
    assert 0.4 < np.mean(drawn) < 0.6


def test_where_few_parts_are_good_all_come(make_set: MakeSet) -> None:
    dataset = open_train(make_set({f"{i}.png": "0 0.5 0.5 0.25 0.5\n" if i % 2 else "" for i in range(8)}))
    assert dataset.good_parts is None


def test_rectangles_take_every_image(mostly_good: Path) -> None:
    assert open_train(mostly_good, rect=True).good_parts is None
    with pytest.raises(UserError, match="--good-parts: with --rect"):
        open_train(mostly_good, rect=True, good_parts=0.3)
