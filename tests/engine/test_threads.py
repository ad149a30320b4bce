"""One model that several threads use, as a service does."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import cv2
import numpy as np
import pytest

from helpers.pairing import assert_same_boxes
from helpers.squares import Learnt
from moat_det.engine import MOAT
from moat_det.errors import UserError

THREADS = 4
CALLS: list[dict[str, Any]] = [
    {"imgsz": 96, "conf": 0.3, "max_det": 8},
    {"imgsz": 128, "conf": 0.3, "max_det": 5},
    {"imgsz": "native", "conf": 0.3, "max_det": 1},
]


@pytest.fixture
def images(learnt: Learnt) -> list[np.ndarray]:
    return [cv2.imread(str(path)) for path in sorted((learnt.data.parent / "images" / "val").iterdir())[:THREADS]]


def rows(model: MOAT, image: np.ndarray, **options: Any) -> np.ndarray:
    (result,) = model.predict(image, amp=False, verbose=False, **options)
    return result.boxes.data.numpy()


def test_threads_get_what_each_would_get_alone(learnt: Learnt, images: list[np.ndarray]) -> None:
    """From the first call on, with other options from call to call."""
    alone = MOAT(learnt.weights)
    expected = [[rows(alone, image, **options) for options in CALLS] for image in images]
    assert all(len(found) for each in expected for found in each)

    for _ in range(3):  # models whose first call is that of four threads
        model, start = MOAT(learnt.weights), Barrier(THREADS)

        def use(image: np.ndarray, model: MOAT = model, start: Barrier = start) -> list[np.ndarray]:
            start.wait(60)
            return [rows(model, image, **options) for options in CALLS]

        with ThreadPoolExecutor(THREADS) as threads:
            found = list(threads.map(use, images))
        for ours, theirs in zip(found, expected, strict=True):
            for mine, wanted in zip(ours, theirs, strict=True):
                assert_same_boxes(mine, wanted, atol=1e-3)


def test_a_stream_keeps_its_options_while_others_predict(learnt: Learnt, images: list[np.ndarray]) -> None:
    model = MOAT(learnt.weights)
    few, many = CALLS[2], CALLS[0]
    expected = [rows(model, image, **few) for image in images]
    stream = model.predict(images, stream=True, amp=False, verbose=False, **few)
    found = []
    for result in stream:
        found.append(result.boxes.data.numpy())
        with ThreadPoolExecutor(1) as other:  # which would wait for ever for the stream's predictor
            assert len(other.submit(rows, model, images[0], **many).result(60)) > few["max_det"]
    for ours, wanted in zip(found, expected, strict=True):
        assert_same_boxes(ours, wanted, atol=1e-3)


def test_a_model_that_predicted_can_be_copied(learnt: Learnt, images: list[np.ndarray]) -> None:
    model = MOAT(learnt.weights)
    expected = rows(model, images[0], **CALLS[0])
    np.testing.assert_array_equal(rows(copy.deepcopy(model), images[0], **CALLS[0]), expected)


@pytest.mark.parametrize("stream", [False, True])
def test_a_callback_that_predicts_with_its_own_model_is_refused(
    stream: bool, learnt: Learnt, images: list[np.ndarray]
) -> None:
    model, other = (MOAT(learnt.weights) for _ in range(2))
    found = []
    model.add_callback("on_predict_end", lambda _: found.append(rows(other, images[0], **CALLS[0])))
    list(model.predict(images[1], stream=stream, verbose=False))
    assert len(found) == 1

    model.add_callback("on_predict_end", lambda _: rows(model, images[0], **CALLS[0]))
    with pytest.raises(UserError, match="use a second MOAT"):
        list(model.predict(images[1], stream=stream, verbose=False))
    model.callbacks["on_predict_end"].pop()
    assert len(list(model.predict(images[1], stream=stream, verbose=False))) == 1
