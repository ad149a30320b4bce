"""Pictures without labels: which are found, what is cut out of them, and what of it is hidden."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.dataset_files import noise
from moat_det.data.images.intensity import Intensity
from moat_det.errors import UserError
from moat_det.pretraining.masked.crops import Crops, cut
from moat_det.pretraining.masked.masks import draw_mask
from moat_det.pretraining.masked.pictures import find_pictures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of 100 x 140 pixels, one of them in a sub-folder."""
    source = tmp_path / "parts"
    (source / "more").mkdir(parents=True)
    for seed, name in enumerate(("a.png", "b.png", "more/c.png")):
        noise(100, 140, seed).save(source / name)
    return source


def crops(folder: Path, channels: int = 3, seed: int = 0) -> Crops:
    return Crops(find_pictures(str(folder), channels, Intensity()), size=64, ratio=0.5, seed=seed)


def test_unreadable_pictures_are_named_and_left_out(folder: Path, log: list[str]) -> None:
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:200])
    (folder / "empty.png").touch()
    (folder / "notes.txt").write_text("no picture")
    found = find_pictures(str(folder), 3, Intensity())
    assert [Path(path).name for path in found.paths] == ["a.png", "b.png", "c.png"]
    assert found.shapes.tolist() == [[100, 140]] * 3
    told = next(line for line in log if "cannot be read" in line)
    assert "2 of 5" in told
    assert "broken.png" in told
    assert "empty.png" in told
    assert any("1 .txt" in line for line in log)


def test_a_source_without_a_readable_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    with pytest.raises(UserError, match=r"none of its 1 pictures can be read.*empty\.png"):
        find_pictures(str(tmp_path), 3, Intensity())


@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.6, 1.0])
def test_a_mask_hides_its_share_but_never_all_or_nothing(ratio: float) -> None:
    masks = [draw_mask(np.random.default_rng(seed), 4, 5, ratio) for seed in range(20)]
    assert {int(mask.sum()) for mask in masks} == {min(max(round(ratio * 20), 1), 19)}
    assert len({mask.tobytes() for mask in masks}) > 1


def test_a_crop_depends_on_seed_epoch_and_picture_alone(folder: Path) -> None:
    first, second = crops(folder), crops(folder)
    second[0, 2]  # what was drawn before does not matter
    assert torch.equal(first[0, 1][0], second[0, 1][0])
    assert torch.equal(first[0, 1][1], second[0, 1][1])
    assert not torch.equal(first[0, 1][0], second[1, 1][0])
    assert not torch.equal(first[0, 1][0], crops(folder, seed=1)[0, 1][0])


def test_a_crop_is_a_part_of_its_picture_turned_or_mirrored(folder: Path) -> None:
    whole = np.asarray(Image.open(folder / "a.png"))
    windows = {
        np.ascontiguousarray(whole[top : top + 64, left : left + 64]).tobytes()
        for top in range(100 - 63)
        for left in range(140 - 63)
    }
    dataset = crops(folder)
    for epoch in range(4):
        square = dataset[epoch, 0][0].permute(1, 2, 0).numpy()
        ways = [np.rot90(way, turn) for way in (square, square[:, ::-1]) for turn in range(4)]
        assert any(np.ascontiguousarray(way).tobytes() in windows for way in ways)


def test_a_small_picture_goes_on_as_its_mirror_image() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    square = cut(image, 8, np.random.default_rng(0))
    assert square.shape == (8, 8, 1)
    assert np.array_equal(square[2:5, 2:6], image)
    assert np.array_equal(square[1], square[2])
    assert np.array_equal(square[:, 6], square[:, 5])


def test_sixteen_bits_and_bands_stay_what_they_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(1000, 1200, (80, 80), np.uint16)).save(tmp_path / "deep.png")
    gray = crops(tmp_path, channels=1)
    assert gray.pictures.intensity.windows[0][0] == pytest.approx(1000, abs=2)
    assert gray[0, 0][0].shape == (1, 64, 64)
    assert int(gray[0, 0][0].max()) - int(gray[0, 0][0].min()) > 200
    bands = tmp_path / "bands.npy"
    np.save(bands, rng.integers(0, 255, (80, 80, 5), np.uint8))
    listed = tmp_path / "list.txt"
    listed.write_text(f"{bands}\n")
    assert crops(listed, channels=5)[0, 0][0].shape == (5, 64, 64)


def test_a_picture_that_went_away_is_told_and_another_one_taken(folder: Path, log: list[str]) -> None:
    dataset = crops(folder)
    (folder / "a.png").unlink()
    assert dataset[0, 0][0].shape == (3, 64, 64)
    assert sum("a.png" in line for line in log) == 1
    for file in ("b.png", "more/c.png"):
        (folder / file).unlink()
    with pytest.raises(UserError, match="can be read"):
        dataset[0, 1]
