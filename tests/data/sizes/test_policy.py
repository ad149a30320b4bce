"""The one policy of the images' size, beside what the engine does."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ultralytics.data.augment import LetterBox
from ultralytics.data.base import BaseDataset

from helpers.placing import to_input
from moat_det.data.images.resize import resize
from moat_det.data.sizes.letterbox import PADDING
from moat_det.data.sizes.policy import (
    FixedSize,
    NativeSize,
    Rectangles,
    SizePolicy,
    TrainingRectangles,
    size_policy,
)
from moat_det.engine.boxes import in_file

size = st.tuples(st.integers(1, 3000), st.integers(1, 3000))
longer_sides = st.integers(1, 40).map(lambda strides: 32 * strides)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"imgsz": 640}, FixedSize((640, 640))),
        ({"imgsz": 100, "rect": True}, Rectangles(128, 32)),
        ({"imgsz": 100, "rect": True, "training": True}, TrainingRectangles(128, 32)),
        ({"imgsz": (256, 2048)}, FixedSize((256, 2048))),
        ({"imgsz": [250, 2000], "rect": True}, FixedSize((256, 2016))),
        ({"imgsz": 100, "stride": 64}, FixedSize((128, 128), 64)),
        ({"imgsz": "native", "max_pixels": 5000}, NativeSize(32, 5000)),
    ],
)
def test_what_a_user_says(given: dict[str, Any], expected: SizePolicy) -> None:
    assert size_policy(**{"stride": 32, **given}) == expected


@given(st.lists(size, min_size=1, max_size=40), longer_sides, st.integers(1, 8))
def test_rectangles_of_training_are_the_engines(sizes: list[tuple[int, int]], longer_side: int, batch: int) -> None:
    policy = TrainingRectangles(longer_side)
    batches = policy.batches(sizes, batch)
    order = [i for one in batches for i in one.images]
    assert sorted(order) == list(range(len(sizes)))
    aspects = [sizes[i][0] / sizes[i][1] for i in order]
    assert list(zip(aspects, order, strict=True)) == sorted(zip(aspects, order, strict=True)), "equal ones by position"
    engine = SimpleNamespace(
        ni=len(sizes),
        batch_size=batch,
        labels=[{"shape": sizes[i]} for i in order],
        im_files=order,
        imgsz=longer_side,
        stride=32,
        pad=0.0,
    )
    BaseDataset.set_rectangle(engine)  # type: ignore[arg-type]
    assert [len(one.images) for one in batches] == np.bincount(engine.batch).tolist()
    for one, theirs in zip(batches, engine.batch_shapes.tolist(), strict=True):
        around = np.max([policy.padded(*sizes[i]) for i in one.images], axis=0)
        assert one.shape == tuple(around)
        # The engine rounds a side up as it comes out of the aspect, we once it is whole pixels: 320.3 px are 320.
        assert all(our in (their, their - 32) for our, their in zip(one.shape, theirs, strict=True))


@given(st.lists(size, min_size=1, max_size=40), st.integers(1, 8), st.randoms(use_true_random=False))
@pytest.mark.parametrize("policy", [FixedSize((64, 96)), Rectangles(320), NativeSize(32, 2000), NativeSize(64)])
def test_the_shape_of_an_image_is_its_own(
    policy: SizePolicy, sizes: list[tuple[int, int]], batch: int, random: Any
) -> None:
    shapes = {i: one.shape for one in policy.batches(sizes, batch) for i in one.images}
    assert shapes == {i: policy.padded(*size) for i, size in enumerate(sizes)}
    neighbours = [size for size in sizes if random.random() < 0.5] + [sizes[0]]
    (shape,) = (one.shape for one in policy.batches(neighbours, 1) if len(neighbours) - 1 in one.images)
    assert shape == shapes[0]


@given(size, longer_sides)
def test_there_are_few_rectangles(image: tuple[int, int], longer_side: int) -> None:
    height, width = Rectangles(longer_side).padded(*image)
    assert max(height, width) == longer_side  # so that there are 2 * longer_side / stride - 1
    assert height % 32 == width % 32 == 0


def test_a_side_is_whole_pixels_before_it_is_padded() -> None:
    assert Rectangles(640).padded(501, 1001) == (320, 640)  # 320.3 px; the engine's batches of a split have 352


@given(size, longer_sides)
def test_an_image_alone_is_padded_as_the_engines_letterbox_does_in_detection(
    image: tuple[int, int], longer_side: int
) -> None:
    policy = Rectangles(longer_side)
    params = LetterBox((longer_side, longer_side), auto=True).get_params({"img": np.zeros((*image, 0))})
    rows, columns = params["new_unpad"][::-1]
    padded = (rows + params["top"] + params["bottom"], columns + params["left"] + params["right"])
    place = policy.placement(*image)
    assert policy.scaled(*image) == (rows, columns)
    assert policy.padded(*image) == padded
    assert (place.left, place.top) == (params["left"], params["top"])


@pytest.mark.parametrize("policy", [FixedSize((64, 96)), Rectangles(96), NativeSize(32, 2000)])
@pytest.mark.parametrize("shape", [(40, 70), (300, 50), (1, 5), (96, 96)])
def test_fit_puts_an_image_where_placement_says(policy: SizePolicy, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 100, (*shape, 3), np.uint8)
    (fitted, place), (rows, columns) = policy.fit(image), policy.scaled(*shape)
    assert place == policy.placement(*shape)
    assert fitted.shape == (*policy.padded(*shape), 3)
    inside = fitted[place.top : place.top + rows, place.left : place.left + columns]
    np.testing.assert_array_equal(inside, resize(image, rows, columns))
    assert (fitted == PADDING).all(axis=2).sum() == fitted[..., 0].size - rows * columns
    (corners,) = to_input(place, np.array([[0, 0, shape[1], shape[0]]]))
    np.testing.assert_allclose(corners, [place.left, place.top, place.left + columns, place.top + rows])


def test_one_shape_takes_the_images_in_their_order() -> None:
    batches = FixedSize((64, 96)).batches([(1, 9), (5, 5), (9, 1)], 2)
    assert [(list(batch.images), batch.shape) for batch in batches] == [([0, 1], (64, 96)), ([2], (64, 96))]


def boxes_in(height: int, width: int) -> st.SearchStrategy[np.ndarray]:
    """Boxes (1, 4), xyxy, in an image."""
    share = st.floats(0, 1)
    corners = st.tuples(share, share, share, share).map(
        lambda x: [*np.minimum(x[:2], x[2:]), *np.maximum(x[:2], x[2:])]
    )
    return corners.map(lambda x: np.array([x]) * [width, height, width, height])


POLICIES = [
    *(Rectangles(side) for side in (32, 224, 640, 1280)),
    *(FixedSize(shape) for shape in ((640, 640), (256, 2048), (2048, 64))),
    *(NativeSize(stride, most) for stride, most in ((32, None), (64, 1_000_000))),
]


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 6000), st.integers(1, 6000), st.data())
@pytest.mark.parametrize("policy", POLICIES)
def test_a_box_returns_from_the_input_to_where_it_was(
    policy: SizePolicy, height: int, width: int, data: st.DataObject
) -> None:
    box = data.draw(boxes_in(height, width))
    place, (rows, columns) = policy.placement(height, width), policy.scaled(height, width)
    inside = to_input(place, box)
    # In float32, as a model gives it, cut off at the image.
    detection = torch.from_numpy(np.concatenate([inside, [[0.5, 0]]], axis=1)).float()
    np.testing.assert_allclose(in_file(detection, place, (height, width)).numpy()[:, :4], box, atol=0.1)
    # The pixels are where the box is: within the part of the input that is the image, at the same share of it.
    shares = (inside - [place.left, place.top] * 2) / [columns, rows, columns, rows]
    np.testing.assert_allclose(shares, box / [width, height, width, height], atol=1e-9)
    whole = policy.padded(height, width)
    assert 0 <= place.top <= place.top + rows <= whole[0]
    assert 0 <= place.left <= place.left + columns <= whole[1]


@pytest.mark.parametrize("shape", [(207, 4096), (313, 6166)])
@pytest.mark.parametrize("turned", [False, True])
def test_a_box_lies_on_what_is_drawn_in_a_long_strip(shape: tuple[int, int], turned: bool) -> None:
    image = np.full((*shape, 3), 40, np.uint8)
    x1, y1, x2, y2 = shape[1] // 2, 60, shape[1] // 2 + 400, 150
    image[y1:y2, x1:x2] = 220
    box = np.array([[x1, y1, x2, y2]])
    if turned:
        image, box = np.ascontiguousarray(image.transpose(1, 0, 2)), box[:, [1, 0, 3, 2]]
    fitted, place = Rectangles(640).fit(image)
    drawn = (fitted[..., 0].astype(float) - 40) / 180  # the share of a pixel that the box covers
    corners = to_input(place, box)[0]
    for axis, (low, high) in enumerate((corners[[0, 2]], corners[[1, 3]])):
        around = np.arange(int(low) - 2, int(high) + 3)
        covered = drawn.max(axis=axis)[around]
        assert covered.sum() == pytest.approx(high - low, abs=0.1)
        assert covered @ (around + 0.5) / covered.sum() == pytest.approx((low + high) / 2, abs=0.1)


@pytest.mark.parametrize(
    ("policy", "option"),
    [
        (FixedSize((640, 640)), "--imgsz 448"),
        (FixedSize((256, 1024)), "--imgsz 192 736"),
        (Rectangles(1024), "--imgsz 704"),
        (NativeSize(), "--max-pixels 130000 (about 724 x 181)"),
    ],
)
def test_the_option_for_half_of_the_pixels(policy: SizePolicy, option: str) -> None:
    height, width = (640, 640) if policy == FixedSize((640, 640)) else (256, 1024)
    assert policy.smaller(height, width, 0.5) == option
    assert policy.smaller(height, width, 1e-4) is None, "less than a stride is left"
    assert policy.smaller(height, width, 0) is None


def test_sizes_need_neither_torch_nor_the_engine() -> None:
    program = (
        "import sys, moat_det.data.sizes.policy, moat_det.data.sizes.imgsz\n"
        "assert not {'torch', 'ultralytics'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
