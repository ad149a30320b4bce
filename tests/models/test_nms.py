from __future__ import annotations

import pytest
import torch
from torch import Tensor

from moat_det.models.nms import non_max_suppression


def prediction(*rows: tuple[float, float, float, float, float, float]) -> Tensor:
    """(1, 4 + 2, N) from rows of cx, cy, w, h and the scores of two classes."""
    return torch.tensor(rows).T[None]


def test_the_better_of_two_boxes_stays() -> None:
    (kept,) = non_max_suppression(
        prediction((50, 50, 20, 20, 0.6, 0.0), (51, 50, 20, 20, 0.9, 0.0), (90, 90, 10, 10, 0.5, 0.0)), 0.1, 0.5
    )
    assert kept.tolist() == [[41, 40, 61, 60, pytest.approx(0.9), 0], [85, 85, 95, 95, 0.5, 0]]


def test_classes_do_not_suppress_each_other_unless_asked() -> None:
    both = prediction((50, 50, 20, 20, 0.6, 0.0), (51, 50, 20, 20, 0.0, 0.9))
    assert len(non_max_suppression(both, 0.1, 0.5)[0]) == 2
    assert len(non_max_suppression(both, 0.1, 0.5, agnostic=True)[0]) == 1


def test_far_away_in_a_large_image_classes_stay_apart() -> None:
    # With the engine's offset of 7,680 px, class 0 at x + 7,680 would meet class 1 at x.
    both = prediction((7780, 7780, 20, 20, 0.6, 0.0), (100, 100, 20, 20, 0.0, 0.9))
    assert len(non_max_suppression(both, 0.1, 0.5)[0]) == 2


def test_a_point_may_name_two_classes() -> None:
    one = prediction((50, 50, 20, 20, 0.6, 0.5))
    assert len(non_max_suppression(one, 0.1, 0.5)[0]) == 1
    assert non_max_suppression(one, 0.1, 0.5, multi_label=True)[0][:, 5].tolist() == [0, 1]


def test_wanted_classes_and_limits() -> None:
    rows = [(20.0 * i, 50.0, 10.0, 10.0, 0.1 + 0.01 * i, 0.0) for i in range(50)]
    many = prediction(*rows, (999, 999, 10, 10, 0.0, 0.9))
    assert non_max_suppression(many, 0.05, 0.5, classes=[1])[0].shape == (1, 6)
    assert len(non_max_suppression(many, 0.05, 0.5, max_det=7)[0]) == 7
    best = non_max_suppression(many, 0.05, 0.5, max_candidates=3)[0]
    assert best[:, 4].tolist() == pytest.approx([0.9, 0.59, 0.58])


def test_nothing_is_an_empty_result() -> None:
    empty = non_max_suppression(torch.zeros(2, 6, 30), 0.1, 0.5)
    assert [tuple(found.shape) for found in empty] == [(0, 6), (0, 6)]


def test_the_result_does_not_depend_on_the_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4, 7, 500, generator=generator) * torch.tensor([200, 200, 60, 60, 1, 1, 1]).view(1, 7, 1)
    together = non_max_suppression(images, 0.3, 0.5, multi_label=True)
    for image, expected in zip(images, together, strict=True):
        assert torch.equal(non_max_suppression(image[None], 0.3, 0.5, multi_label=True)[0], expected)
