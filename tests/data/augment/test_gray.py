"""Gray images are one band through all steps; batches are those of three equal ones, alone and beside colour."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from helpers.datasets import open_dataset
from moat_det.data.augment import Preset, load_preset
from moat_det.data.images import read
from moat_det.data.loader import images as loader_images
from moat_det.data.loader.dataset import DetectionDataset
from moat_det.data.loader.loader import make_loader

CPU = torch.device("cpu")
SIZES = [(96, 128), (130, 100), (64, 64), (150, 90), (128, 128), (40, 120), (201, 333), (80, 81)]
EVERYTHING = {
    "mosaic": 0.5,
    "mixup": 0.5,
    "cutmix": 0.5,
    "copy_paste": 1.0,
    "degrees": 20.0,
    "shear": 5.0,
    "flipud": 0.5,
    "fliplr": 0.5,
    "hsv_h": 0.1,
    "hsv_s": 0.7,
    "hsv_v": 0.4,
    "bgr": 0.3,
}
# In what comes before it a colour image is treated like a gray one, band for band.
PRESET = Preset(quarter_turns=0.5, transforms=[{"RandomGamma": {"p": 0.5}}, {"RandomBrightnessContrast": {"p": 0.5}}])


def part(number: int) -> np.ndarray:
    """A gray surface (H, W) with a dark spot that may be cut out, boxed by `write_set`."""
    height, width = SIZES[number % len(SIZES)]
    image = np.random.default_rng(number).normal(120, 6, (height, width)).clip(0, 255).astype(np.uint8)
    image[height // 2 - 5 : height // 2 + 5, width // 2 - 6 : width // 2 + 6] = 40
    return image


def write_set(
    root: Path, stored: Callable[[int], np.ndarray], suffix: str = ".png", good: int = 3, **keys: Any
) -> Path:
    """Write images as `stored` gives them, the last of which are good parts; gives the dataset YAML."""
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    for number in range(len(SIZES) + good):
        image = stored(number)
        if suffix == ".npy":
            np.save(root / f"images/{number:02}.npy", image)  # is taken where a list names it
        else:
            cv2.imwrite(str(root / f"images/{number:02}{suffix}"), image)
        height, width = image.shape[:2]
        box = f"{number % 2} {width // 2 / width} {height // 2 / height} {12 / width} {10 / height}\n"
        (root / f"labels/{number:02}.txt").write_text(box if number < len(SIZES) else "")
    images = sorted(str(file) for file in (root / "images").iterdir())
    (root / "list.txt").write_text("\n".join(images))
    lines = {"train": "list.txt", "val": "list.txt", "names": "{0: spot, 1: pit}", **keys}
    (root / "data.yaml").write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
    return root / "data.yaml"


def colour(number: int) -> np.ndarray:
    return part(number)[..., None] + np.array([0, 5, 10], np.uint8)


def mixed(number: int) -> np.ndarray:
    return part(number) if number % 3 else colour(number)


def open_train(source: Path, preset: Preset = PRESET, rect: bool = False, **settings: Any) -> DetectionDataset:
    given = {**EVERYTHING, **settings}
    return open_dataset(source, imgsz=96, rect=rect, preset=preset, on_broken="replace", **given)


def batches(dataset: DetectionDataset, epochs: int = 2, workers: int = 0) -> list[dict[str, Any]]:
    loader, found = make_loader(dataset, workers, CPU, shuffle=True), []
    for epoch in range(epochs):
        loader.start_epoch(epoch)
        found += list(loader)
    loader.close()
    return found


def assert_same(ours: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    assert len(ours) == len(others) > 0
    for one, other in zip(ours, others, strict=True):
        for key in ("img", "cls", "bboxes", "batch_idx"):
            assert torch.equal(one[key], other[key]), key


@pytest.fixture
def unsqueezed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on, gray images come as three bands."""

    def read_colour(*words: Any, keep_gray: bool = False, **settings: Any) -> np.ndarray:
        return read.read_input(*words, **settings)

    return lambda: monkeypatch.setattr(loader_images, "read_input", read_colour)


@pytest.mark.parametrize(
    ("suffix", "intensity", "rect"),
    [(".png", "full", False), (".jpg", "full", True), (".png", "image", True), (".tif", "auto", False)],
)
def test_one_band_and_three_equal_ones_give_the_same_batches(
    tmp_path: Path, suffix: str, intensity: str, rect: bool, unsqueezed: Callable[[], None]
) -> None:
    def stored(number: int) -> np.ndarray:
        return part(number) if intensity == "full" else part(number).astype(np.uint16) * 13 + 1000

    one = write_set(tmp_path / "one", stored, suffix, intensity=intensity)
    three = write_set(tmp_path / "three", lambda i: np.dstack([stored(i)] * 3), suffix, intensity=intensity)
    found = batches(open_train(one, rect=rect))
    assert all((batch["img"][:, :1] == batch["img"]).all() for batch in found)
    assert open_train(three).images.load(0)[0].shape[2] == 1
    assert_same(found, batches(open_train(three, rect=rect)))
    unsqueezed()
    assert open_train(one).images.load(0)[0].shape[2] == 3
    assert_same(found, batches(open_train(one, rect=rect)))


@pytest.mark.parametrize("cache", [None, "ram", "disk"])
def test_gray_beside_colour_gives_what_three_bands_give(
    tmp_path: Path, cache: str | None, unsqueezed: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_set(tmp_path, mixed)
    found = batches(open_train(source, Preset(quarter_turns=0.5), cache=cache))
    assert {batch["img"].shape[1:] for batch in found} == {(3, 96, 96)}
    grays = [bool((image[:1] == image).all()) for batch in found for image in batch["img"]]
    assert any(grays)
    assert not all(grays)
    unsqueezed()
    monkeypatch.setenv("MOAT_DET_CACHE", str(tmp_path / "cache"))  # the other one has gray images as one band
    assert_same(found, batches(open_train(source, Preset(quarter_turns=0.5), cache=cache)))


@pytest.mark.parametrize("name", ["none", "light", "surface", "board"])
def test_a_mixed_set_trains_with_each_preset_and_any_number_of_workers(tmp_path: Path, name: str) -> None:
    preset = load_preset(name)
    found = batches(open_train(write_set(tmp_path, mixed), preset, **preset.engine), epochs=1)
    assert_same(found, batches(open_train(tmp_path / "data.yaml", preset, **preset.engine), epochs=1, workers=2))


def test_a_defect_is_pasted_from_gray_into_colour_and_back(tmp_path: Path) -> None:
    source = write_set(tmp_path, mixed, good=4)
    dataset = open_train(source, Preset(), mosaic=0.0, mixup=0.0, cutmix=0.0)
    pairs = set()
    for epoch in range(40):
        dataset.epoch = epoch
        for index in range(len(SIZES), len(SIZES) + 4):
            np.random.seed(epoch)
            sample = dataset._single(index)
            if len(sample["cls"]):
                pairs.add((mixed(index).ndim == 2, sample["img"].shape[2] == 1))
    # Gray stays one band with a gray defect, becomes colour with a coloured one, and colour is always colour.
    assert pairs == {(True, True), (True, False), (False, False)}


@pytest.mark.parametrize("channels", [1, 5])
def test_other_numbers_of_bands_stay_as_they_are(tmp_path: Path, channels: int) -> None:
    def bands(number: int) -> np.ndarray:
        return np.dstack([part(number) // (1 + band) for band in range(channels)])

    source = write_set(tmp_path, bands, ".npy", channels=channels)
    surface = load_preset("surface")
    (first, *_) = batches(open_train(source, surface), epochs=1)
    assert first["img"].shape == (4, channels, 96, 96)


def test_transforms_given_in_python_see_colour(tmp_path: Path) -> None:
    import albumentations

    shapes = []

    class Look(albumentations.ImageOnlyTransform):
        def apply(self, img: np.ndarray, **_: Any) -> np.ndarray:
            shapes.append(img.shape)
            return img

    args: dict[str, Any] = {"augmentations": [Look(p=1.0), albumentations.ToGray(p=0.5)]}
    found = batches(open_train(write_set(tmp_path, mixed), Preset(), **args), epochs=1)
    assert set(shapes) == {(96, 96, 3)}
    assert sum(len(batch["img"]) for batch in found) == len(shapes)


def test_a_broken_image_among_gray_ones_is_replaced(tmp_path: Path) -> None:
    source = write_set(tmp_path, part)
    dataset = open_train(source)
    (tmp_path / "images/03.png").unlink()
    found = batches(dataset)
    assert all((batch["img"][:, :1] == batch["img"]).all() for batch in found)
    assert not any("03.png" in file for batch in found for file in batch["im_file"])
