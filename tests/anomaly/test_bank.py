"""A bank knows its own parts, tells others by a threshold, and is kept in a file for its own settings alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from moat_det.anomaly.bank import FILE, Bank, make_bank, read_bank
from moat_det.errors import UserError

SETTINGS = {"weights": "abc", "imgsz": "64", "intensity": {"kind": "full", "windows": []}}
WEIGHTS = torch.ones(12)
FILES = [f"{number}.png" for number in range(40)]


def look(file: str) -> Tensor:
    """Give features of an image (4, 6, 12): noise of its own; those of a channel never change."""
    features = torch.randn(4, 6, 12, generator=torch.Generator().manual_seed(int(Path(file).stem)))
    features[..., 5] = 7
    return features


@pytest.fixture(scope="module")
def bank() -> Bank:
    return make_bank("good", FILES, look, WEIGHTS, SETTINGS)


def test_a_part_in_the_bank_is_at_no_distance_and_a_stranger_far(bank: Bank) -> None:
    scores = np.array([bank.compare(look(file)).max() for file in FILES])
    assert bank.parts == 30
    assert len(bank.good_scores) == 10
    assert (scores < 1e-6).sum() == 30
    assert np.isclose(scores.max(), 1)  # the highest of those that were held out
    strange = look("99.png")
    strange[2, 3] += 30
    values = bank.compare(strange)
    assert values.max() > 2
    assert np.unravel_index(values.argmax(), values.shape) == (2, 3)


def test_what_varies_little_on_good_parts_counts_as_much(bank: Bank) -> None:
    def scaled(file: str) -> Tensor:
        features = look(file)
        features[..., 0] *= 1000
        return features

    other = make_bank("good", FILES, scaled, WEIGHTS, SETTINGS)
    np.testing.assert_allclose(other.compare(scaled("77.png")), bank.compare(look("77.png")), rtol=1e-3)


def test_a_channel_counts_by_its_weight(bank: Bank) -> None:
    weights = torch.ones(12)
    weights[3] = 0
    blind = make_bank("good", FILES, look, weights, SETTINGS)
    strange = look("99.png")
    strange[1, 1, 3] = 100
    assert bank.compare(strange).max() > 2 > 1.5 > blind.compare(strange).max()


def test_the_same_good_parts_make_the_same_bank(bank: Bank) -> None:
    again = make_bank("good", FILES, look, WEIGHTS, SETTINGS)
    assert torch.equal(again.points, bank.points)
    assert again.threshold == bank.threshold


def test_it_comes_back_from_its_file_as_it_was(bank: Bank, tmp_path: Path) -> None:
    bank.save(tmp_path / FILE)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    back = read_bank(tmp_path / FILE, SETTINGS)
    np.testing.assert_array_equal(back.compare(look("77.png")), bank.compare(look("77.png")))
    assert str(back) == str(bank)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"weights": "abd"}, "made with other weights; make it anew"),
        ({"imgsz": "96"}, "made with other imgsz, 64, and not 96"),
        ({"intensity": {"kind": "image", "windows": []}}, "made with other intensity"),
    ],
)
def test_a_bank_of_other_settings_is_refused(
    bank: Bank, tmp_path: Path, changed: dict[str, object], message: str
) -> None:
    bank.save(tmp_path / FILE)
    with pytest.raises(UserError, match=message):
        read_bank(tmp_path / FILE, {**SETTINGS, **changed})


def test_a_file_that_is_no_bank_is_refused(bank: Bank, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_bank(tmp_path / FILE, SETTINGS)
    bank.save(tmp_path / FILE)
    whole = (tmp_path / FILE).read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        (tmp_path / FILE).write_bytes(content)
        with pytest.raises(UserError, match="no bank of this version, or a damaged one"):
            read_bank(tmp_path / FILE, SETTINGS)
    np.savez(tmp_path / FILE, points=np.zeros(3))
    with pytest.raises(UserError, match="no bank of this version"):
        read_bank(tmp_path / FILE, SETTINGS)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_too_few_good_parts_are_refused(count: int) -> None:
    with pytest.raises(UserError, match=f"good: {count} image"):
        make_bank("good", FILES[:count], look, WEIGHTS, SETTINGS)


def test_good_parts_that_cannot_be_read_are_named(caplog: pytest.LogCaptureFixture) -> None:
    def some_broken(file: str) -> Tensor | None:
        return None if file in {"3.png", "8.png"} else look(file)

    bank = make_bank("good", FILES, some_broken, WEIGHTS, SETTINGS)
    assert bank.parts + len(bank.good_scores) == 38
    assert "2 unreadable file(s) left out: " in caplog.text
    with pytest.raises(UserError, match=r"3 image.*that can be read"):
        make_bank("good", FILES, lambda file: look(file) if file in FILES[:3] else None, WEIGHTS, SETTINGS)


def test_good_parts_that_are_one_picture_are_refused() -> None:
    with pytest.raises(UserError, match="the same as the rest"):
        make_bank("good", FILES, lambda _: look("1.png"), WEIGHTS, SETTINGS)


def test_only_what_was_held_out_can_be_read(bank: Bank) -> None:
    kept = set(FILES) - {file for file in FILES if bank.compare(look(file)).max() > 1e-6}
    with pytest.raises(UserError, match=r"good: 0 image.*that can be read"):
        make_bank("good", FILES, lambda file: None if file in kept else look(file), WEIGHTS, SETTINGS)


def test_as_many_further_good_parts_look_unlike_as_is_said() -> None:
    draws, unlike = 150, 0
    for draw in range(draws):
        files = [f"{1000 * draw + number}.png" for number in range(9)]
        bank = make_bank("good", files[:8], look, WEIGHTS, SETTINGS, seed=draw)
        assert "1 in 3 further good parts" in str(bank)
        unlike += bool(bank.compare(look(files[8])).max() > 1)
    assert 1 / 3 - 0.13 < unlike / draws < 1 / 3 + 0.13  # more than three deviations
