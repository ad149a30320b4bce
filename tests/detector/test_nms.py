from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from moat_det.detector import nms
from moat_det.detector.nms import non_max_suppression, read_output


def prediction(*rows: tuple[float, float, float, float, float, float]) -> Tensor:
    """(1, 4 + 2, N) from rows of cx, cy, w, h and the scores of two classes."""
    return torch.tensor(rows).T[None]


def random_predictions(images: int, points: int, classes: int, size: float = 200.0, box: float = 60.0) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([size, size, box, box, *[1.0] * classes]).view(1, -1, 1)
    return torch.rand(images, 4 + classes, points, generator=generator) * scale


def suppress(*args: Any, **kwargs: Any) -> list[Tensor]:
    return non_max_suppression(*args, **kwargs).kept


def by_the_definition(image: Tensor, conf: float, iou: float) -> list[tuple[int, int]]:
    """(class, anchor point) of what stays, in plain loops and float64; equal scores in the order of the points."""
    image = image.double()
    best = image[4:].argmax(0).tolist()
    found = [(-score, a, c) for a, c in enumerate(best) if (score := image[4 + c, a].item()) > conf]
    centre, half = image[:2].T, image[2:4].T / 2
    overlap = (box_iou(*[torch.cat((centre - half, centre + half), 1)] * 2) > iou).tolist()
    kept: list[tuple[int, int]] = []
    for _, a, c in sorted(found):
        if not any(overlap[a][other] for label, other in kept if label == c):
            kept.append((c, a))
    return kept


def test_the_better_of_two_boxes_stays() -> None:
    (kept,) = suppress(
        prediction((50, 50, 20, 20, 0.6, 0.0), (51, 50, 20, 20, 0.9, 0.0), (90, 90, 10, 10, 0.5, 0.0)), 0.1, 0.5
    )
    assert kept.tolist() == [[41, 40, 61, 60, pytest.approx(0.9), 0], [85, 85, 95, 95, 0.5, 0]]


def test_classes_do_not_suppress_each_other_unless_asked() -> None:
    both = prediction((50, 50, 20, 20, 0.6, 0.0), (51, 50, 20, 20, 0.0, 0.9))
    assert len(suppress(both, 0.1, 0.5)[0]) == 2
    assert len(suppress(both, 0.1, 0.5, agnostic=True)[0]) == 1


def test_thresholds_by_class_leave_the_other_classes_as_they_were() -> None:
    images = random_predictions(2, 400, 3, box=20.0)
    for agnostic in (False, True):
        plain = suppress(images, 0.25, 0.5, agnostic=agnostic)
        uniform = suppress(images, torch.tensor([0.25] * 3), 0.5, agnostic=agnostic)
        assert all(map(torch.equal, plain, uniform))
    raised = suppress(images, torch.tensor([0.25, 0.9, 0.25]), 0.5, max_det=1000)
    for before, after in zip(suppress(images, 0.25, 0.5, max_det=1000), raised, strict=True):
        assert len(before[before[:, 5] == 1]) > len(after[after[:, 5] == 1]) > 0
        assert torch.equal(before[before[:, 5] != 1], after[after[:, 5] != 1])
        assert (after[after[:, 5] == 1, 4] > 0.9).all()


def test_a_class_that_is_held_back_suppresses_no_other() -> None:
    both = prediction((50, 50, 20, 20, 0.6, 0.0), (51, 50, 20, 20, 0.0, 0.9))
    (kept,) = suppress(both, torch.tensor([0.25, 0.95]), 0.5, agnostic=True)
    assert kept[:, 5].tolist() == [0]


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
@pytest.mark.parametrize("side", range(4))
def test_a_box_that_is_not_finite_is_none(broken: float, side: int) -> None:
    both = prediction((50, 50, 20, 20, 0.6, 0.0), (51, 50, 20, 20, 0.9, 0.0))
    both[0, side, 1] = broken
    result = non_max_suppression(both, 0.1, 0.5)
    assert result.kept[0].tolist() == [[40, 40, 60, 60, pytest.approx(0.6), 0]]
    assert result.found == [1]


@pytest.mark.parametrize(("points", "classes", "spread"), [(1500, 3, 80.0), (2000, 1000, 6.0)])
def test_what_stays_is_what_the_definition_says(points: int, classes: int, spread: float) -> None:
    # Boxes of a few pixels at 16,000 px: shifted apart by class, to 16,000,000 px, they would be one pixel wrong.
    images = random_predictions(1, points, classes, size=spread, box=6.0)
    images[0, :4] += torch.tensor([16_000, 16_000, 6, 6])[:, None]
    images[:, :4] = (images[:, :4] * 4).round() / 4  # exact in float32
    conf, iou = 1 - 2000 / (points * classes), 0.3141  # no two such boxes overlap by just this
    (kept,) = suppress(images, conf, iou, max_det=10_000)
    expected = by_the_definition(images[0], conf, iou)
    assert 100 < len(expected) < 0.9 * (images[0, 4:].amax(0) > conf).sum()
    assert kept[:, 5].tolist() == [label for label, _ in expected]
    assert kept[:, 4].tolist() == [images[0, 4 + label, anchor].item() for label, anchor in expected]


def test_boxes_across_the_border_of_the_image_stay_with_their_class() -> None:
    # Shifted by the largest coordinate, class 1 at x = -100 would meet class 0 at the right border.
    both = prediction((-89, 50, 20, 20, 0.0, 0.9), (890, 929, 20, 20, 0.6, 0.0), (990, 990, 20, 20, 0.5, 0.0))
    assert len(suppress(both, 0.1, 0.1)[0]) == 3


def test_a_point_has_one_box_of_its_best_class() -> None:
    (kept,) = suppress(prediction((50, 50, 20, 20, 0.5, 0.6)), 0.1, 0.5)
    assert kept[:, 4:].tolist() == [[pytest.approx(0.6), 1]]


def test_wanted_classes_and_limits() -> None:
    rows = [(20.0 * i, 50.0, 10.0, 10.0, 0.1 + 0.01 * i, 0.0) for i in range(50)]
    many = prediction(*rows, (999, 999, 10, 10, 0.0, 0.9))
    assert suppress(many, 0.05, 0.5, classes=[1])[0].shape == (1, 6)
    best = suppress(many, 0.05, 0.5, max_candidates=3)[0]
    assert best[:, 4].tolist() == pytest.approx([0.9, 0.59, 0.58])


def test_max_det_says_that_it_cuts() -> None:
    rows = [(20.0 * i, 50.0, 10.0, 10.0, 0.1 + 0.01 * i, 0.0) for i in range(50)]
    (kept,), found = non_max_suppression(prediction(*rows), 0.05, 0.5, max_det=7)
    assert len(kept) == 7
    assert found == [50]
    assert non_max_suppression(prediction(*rows), 0.05, 0.5, max_det=50).found == [50]


def test_a_fine_level_does_not_crowd_out_a_coarse_one() -> None:
    fine = [(20.0 * i, 50.0, 10.0, 10.0, 0.9, 0.0) for i in range(50)]
    both = prediction(*fine, (500, 500, 400, 400, 0.3, 0.0))
    assert suppress(both, 0.1, 0.5, max_candidates=5)[0][:, 4].min() > 0.8
    by_level = suppress(both, 0.1, 0.5, max_candidates=5, level_sizes=[50, 1])[0]
    assert by_level[:, 4].tolist() == pytest.approx([0.9] * 5 + [0.3])


def test_equal_scores_keep_the_order_of_the_points() -> None:
    images = random_predictions(1, 5000, 2)
    images[:, 4:] = (images[:, 4:] * 4).round() / 4
    whole = suppress(images, 0.1, 0.5, max_det=10_000)[0]
    assert torch.equal(whole, suppress(images, 0.1, 0.5, max_det=10_000)[0])
    by_level = suppress(images, 0.1, 0.5, max_det=10_000, level_sizes=[4000, 900, 100])[0]
    assert torch.equal(whole, by_level)
    expected = by_the_definition(images[0, :, :300], 0.1, 0.5)
    kept = suppress(images[:, :, :300], 0.1, 0.5, max_det=10_000)[0]
    assert kept[:, 5].tolist() == [label for label, _ in expected]


def test_stopping_early_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    images = random_predictions(1, 2000, 3)
    monkeypatch.setattr(nms, "_FIRST", 10**9)
    (whole,), total = non_max_suppression(images, 0.1, 0.3, max_det=40)
    monkeypatch.setattr(nms, "_FIRST", 8)
    (early,), some = non_max_suppression(images, 0.1, 0.3, max_det=40)
    assert torch.equal(early, whole)
    assert 40 < some[0] < total[0]


def test_a_million_candidates_are_no_reason_to_wait() -> None:
    images = random_predictions(1, 1_000_000, 1, size=16_000.0, box=8.0)
    (kept,), found = non_max_suppression(images, 0.001, 0.7, level_sizes=[761_904, 190_476, 47_620])
    assert len(kept) == 300
    assert found[0] > 300
    assert kept[:, 4].min() > 0.999


def test_nothing_is_an_empty_result() -> None:
    kept, found = non_max_suppression(torch.zeros(2, 6, 30), 0.1, 0.5, level_sizes=[20, 10])
    assert [tuple(x.shape) for x in kept] == [(0, 6), (0, 6)]
    assert found == [0, 0]


def test_the_result_does_not_depend_on_the_batch() -> None:
    images = random_predictions(4, 500, 3)
    images[1, :2] += 20_000  # what lies in one image must not matter to another
    together = suppress(images, 0.3, 0.5)
    for image, expected in zip(images, together, strict=True):
        assert torch.equal(suppress(image[None], 0.3, 0.5)[0], expected)


def test_the_levels_are_read_from_the_raw_outputs() -> None:
    predictions, feats = torch.zeros(1, 6, 20), [torch.zeros(1, 8, 4, 4), torch.zeros(1, 8, 2, 2)]
    assert read_output((predictions, {"feats": feats}))[1] == [16, 4]
    for without in (predictions, [predictions], (predictions, None), (predictions, {"one2many": {}})):
        found, sizes = read_output(without)
        assert found is predictions
        assert sizes is None
