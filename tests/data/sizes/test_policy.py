"""The one policy of the images' size, beside what the engine does."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ultralytics.data.augment import LetterBox
from ultralytics.data.base import BaseDataset

from helpers.placing import to_input
from moat_det.data.images.resize import resize
from moat_det.data.sizes.letterbox import PADDING
from moat_det.data.sizes.policy import FixedSize, NativeSize, Rectangles, SizePolicy, size_policy

size = st.tuples(st.integers(1, 3000), st.integers(1, 3000))
longer_sides = st.integers(1, 40).map(lambda strides: 32 * strides)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"imgsz": 640}, FixedSize((640, 640))),
        ({"imgsz": 100, "rect": True, "margin": 0.5}, Rectangles(128, 32, 0.5)),
        ({"imgsz": (256, 2048)}, FixedSize((256, 2048))),
        ({"imgsz": [250, 2000], "rect": True}, FixedSize((256, 2016))),
        ({"imgsz": 100, "stride": 64}, FixedSize((128, 128), 64)),
        ({"imgsz": "native", "max_pixels": 5000}, NativeSize(32, 5000)),
    ],
)
def test_what_a_user_says(given: dict[str, Any], expected: SizePolicy) -> None:
    assert size_policy(**{"stride": 32, **given}) == expected


@given(st.lists(size, min_size=1, max_size=40), longer_sides, st.sampled_from([0.0, 0.5]), st.integers(1, 8))
def test_rectangles_of_a_split_are_the_engines(
    sizes: list[tuple[int, int]], longer_side: int, margin: float, batch: int
) -> None:
    batches = Rectangles(longer_side, 32, margin).batches(sizes, batch)
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
        pad=margin,
    )
    BaseDataset.set_rectangle(engine)  # type: ignore[arg-type]
    assert [one.shape for one in batches] == [tuple(shape) for shape in engine.batch_shapes.tolist()]
    assert [len(one.images) for one in batches] == np.bincount(engine.batch).tolist()


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
    assert policy.padded(*image) == policy.batch_shape([image, image]) == padded
    assert (place.left, place.top) == (params["left"], params["top"])
    assert policy.batch_shape([image, (image[0], image[1] + 1)]) == (longer_side, longer_side)


@pytest.mark.parametrize("policy", [FixedSize((64, 96)), Rectangles(96), NativeSize(32, 2000)])
@pytest.mark.parametrize("shape", [(40, 70), (300, 50), (1, 5), (96, 96)])
def test_fit_puts_an_image_where_placement_says(policy: SizePolicy, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 100, (*shape, 3), np.uint8)
    fitted, place, (rows, columns) = policy.fit(image), policy.placement(*shape), policy.scaled(*shape)
    assert fitted.shape == (*policy.padded(*shape), 3)
    inside = fitted[place.top : place.top + rows, place.left : place.left + columns]
    np.testing.assert_array_equal(inside, resize(image, rows, columns))
    assert (fitted == PADDING).all(axis=2).sum() == fitted[..., 0].size - rows * columns
    (corners,) = to_input(place, np.array([[0, 0, shape[1], shape[0]]]))
    np.testing.assert_allclose(corners, [place.left, place.top, place.left + columns, place.top + rows])


def test_one_shape_takes_the_images_in_their_order() -> None:
    batches = FixedSize((64, 96)).batches([(1, 9), (5, 5), (9, 1)], 2)
    assert [(list(batch.images), batch.shape) for batch in batches] == [([0, 1], (64, 96)), ([2], (64, 96))]


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


def test_sizes_need_neither_torch_nor_the_engine() -> None:
    program = (
        "import sys, moat_det.data.sizes.policy, moat_det.data.sizes.imgsz\n"
        "assert not {'torch', 'ultralytics'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
