"""One model that several threads use, as a service does."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import cv2
import numpy as np
import pytest

from moat_det.engine import MOAT
from moat_det.errors import UserError

THREADS = 4
CALLS: list[dict[str, Any]] = [
    {"imgsz": 64, "conf": 0.001, "max_det": 8},
    {"imgsz": 96, "conf": 0.001, "max_det": 5},
    {"imgsz": "native", "conf": 0.01, "max_det": 3},
]


@pytest.fixture
def images(demo: Path) -> list[np.ndarray]:
    return [cv2.imread(str(path)) for path in sorted((demo.parent / "images" / "val").iterdir())[:THREADS]]


def rows(model: MOAT, image: np.ndarray, **options: Any) -> np.ndarray:
    (result,) = model.predict(image, amp=False, verbose=False, **options)
    return result.boxes.data.numpy()


def test_threads_get_what_each_would_get_alone(trained: Path, images: list[np.ndarray]) -> None:
    """From the first call on, with other options from call to call."""
    alone = MOAT(trained / "weights" / "best.pt")
    expected = [[rows(alone, image, **options) for options in CALLS] for image in images]
    assert all(len(found) for each in expected for found in each)

    for _ in range(3):  # models whose first call is that of four threads
        model, start = MOAT(trained / "weights" / "best.pt"), Barrier(THREADS)

        def use(image: np.ndarray, model: MOAT = model, start: Barrier = start) -> list[np.ndarray]:
            start.wait(60)
            return [rows(model, image, **options) for options in CALLS]

        with ThreadPoolExecutor(THREADS) as threads:
            found = list(threads.map(use, images))
        for ours, theirs in zip(found, expected, strict=True):
            for mine, wanted in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(mine, wanted, atol=1e-3)


def test_a_stream_keeps_its_options_while_others_predict(trained: Path, images: list[np.ndarray]) -> None:
    model = MOAT(trained / "weights" / "best.pt")
    few, many = CALLS[2], CALLS[0]
    expected = [rows(model, image, **few) for image in images]
    stream = model.predict(images, stream=True, amp=False, verbose=False, **few)
    found = []
    for result in stream:
        found.append(result.boxes.data.numpy())
        with ThreadPoolExecutor(1) as other:  # which would wait for ever for the stream's predictor
            assert len(other.submit(rows, model, images[0], **many).result(60)) > few["max_det"]
    for ours, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, wanted, atol=1e-3)


def test_a_model_that_predicted_can_be_copied(trained: Path, images: list[np.ndarray]) -> None:
    model = MOAT(trained / "weights" / "best.pt")
    expected = rows(model, images[0], **CALLS[0])
    np.testing.assert_array_equal(rows(copy.deepcopy(model), images[0], **CALLS[0]), expected)


@pytest.mark.parametrize("stream", [False, True])
def test_a_callback_that_predicts_with_its_own_model_is_refused(
    stream: bool, trained: Path, images: list[np.ndarray]
) -> None:
    model, other = (MOAT(trained / "weights" / "best.pt") for _ in range(2))
    found = []
    model.add_callback("on_predict_end", lambda _: found.append(rows(other, images[0], **CALLS[0])))
    list(model.predict(images[1], stream=stream, verbose=False))
    assert len(found) == 1

    model.add_callback("on_predict_end", lambda _: rows(model, images[0], **CALLS[0]))
    with pytest.raises(UserError, match="use a second MOAT"):
        list(model.predict(images[1], stream=stream, verbose=False))
    model.callbacks["on_predict_end"].pop()
    assert len(list(model.predict(images[1], stream=stream, verbose=False))) == 1
