"""Parts of messages: whatever a user gives, a few words in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from moat_det.messages import as_given, one_line, shown


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.zeros((4, 5, 3), np.uint8), "ndarray (4, 5, 3) of uint8"),
        ([np.zeros((4, 5))] * 2, "[ndarray (4, 5) of float64, ndarray (4, 5) of float64]"),
        (torch.zeros(2, 3), "Tensor (2, 3) of torch.float32"),
        (b"\x89PNG" * 1000, "4000 bytes"),
        ("pit", "'pit'"),
        ({"a": None}, "{'a': None}"),
        (10**5000, "a huge int"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_shown_in_a_few_words(value: object, words: str) -> None:
    assert shown(value) == words


@pytest.mark.parametrize("value", ["x" * 10_000, list(range(10_000)), {i: "y" * 1000 for i in range(1000)}], ids=type)
def test_no_value_floods_a_message(value: object) -> None:
    assert len(shown(value)) < 1000
    assert len(as_given(value)) < 1000


def test_what_was_given_stands_there_as_it_is() -> None:
    assert [as_given(value) for value in ("a b.png", Path("x/y.png"), 3, 0.5)] == ["a b.png", "x/y.png", "3", "0.5"]
    assert as_given(True) == "True"
    assert as_given([1, "a"]) == "[1, 'a']"


def test_a_reason_is_one_line_that_ends_at_a_word() -> None:
    assert one_line("no\n such   file") == "no such file"
    text = one_line("reason " * 1000)
    assert len(text) < 500
    assert text.endswith("reason ...")
