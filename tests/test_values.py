"""What counts as a number."""

from __future__ import annotations

import math

import pytest

from moat_det.backbones.moat.create import create_moat
from moat_det.errors import UserError
from moat_det.values import is_count, is_number


def test_numbers() -> None:
    assert all(map(is_number, (0, -3, 1e-9)))
    assert not any(map(is_number, (True, "1", None, math.nan, -math.inf, 10**400)))


def test_counts() -> None:
    assert is_count(1)
    assert is_count(-1, -1)
    assert not any(map(is_count, (0, True, 1.0, "1", None)))


def test_a_bias_that_is_no_number() -> None:
    with pytest.raises(UserError, match="bias_init nan: must be a number"):
        create_moat("tiny_moat0", bias_init=math.nan)
