from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from ultralytics.utils.instance import Instances

from helpers.dataset_files import HEIGHT, WIDTH, noise
from helpers.datasets import open_dataset
from moat_det.data.augment import Preset, load_preset
from moat_det.data.augment.quarter_turns import QuarterTurns
from moat_det.data.loader.dataset import DetectionDataset
from moat_det.data.loader.loader import make_loader
from moat_det.errors import UserError
from moat_det.paths import cfg_dir, yaml_names

MakeSet = Callable[[dict[str, str | None]], Path]
FILES = {f"{i}.png": f"{i % 3} 0.5 0.5 0.15 0.2\n" for i in range(6)}
NOISE = Preset(engine=load_preset("none").engine, transforms=[{"GaussNoise": {"std_range": [0.1, 0.2], "p": 1.0}}])


def open_set(source: Path, preset: Preset, imgsz: int = 64, shape: Any = None, **settings: Any) -> DetectionDataset:
    return open_dataset(source, imgsz=imgsz, shape=shape, preset=preset, **{**preset.engine, **settings})


def make_gray(source: Path) -> None:
    for file in (source.parent / "images/train").iterdir():
        Image.open(file).convert("L").save(file)


@pytest.mark.parametrize("name", ["none", "light", "surface", "board"])
def test_each_preset_says_for_whom_it_is_and_survives_a_checkpoint(name: str) -> None:
    assert name in yaml_names("augmentation")
    head = (cfg_dir() / "augmentation" / f"{name}.yaml").read_text().partition("\nengine:")[0]
    assert "# For whom:" in head
    preset = load_preset(name)
    assert Preset(**preset.to_dict()) == preset


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1", "must hold the keys 'engine'"),
        ("quarterturn: 0.5", "unknown key 'quarterturn' .did you mean 'quarter_turns'"),
        ("mosaic: 0.5", "unknown key 'mosaic'; it belongs under 'engine'"),
        ("quarter_turns: 2", "'quarter_turns: 2' is no share"),
        ("engine: 0", "'engine' is 0; write the engine's arguments"),
        ("engine: {degrees: .inf}", "'degrees: inf'; write a number"),
        ("quarter_turns: true", "'quarter_turns: True' is no share"),
        ("engine: [1]", "'engine' is"),
        ("engine: {lr0: 0.1}", "'lr0', which is no augmentation"),
        ("engine: {flipr: 0.1}", "did you mean 'fliplr'"),
        ("engine: {fliplr: 1.5}", "'fliplr=1.5' is an invalid value"),
        ("engine: {fliplr: yes}", "'fliplr: True'; write a number"),
        ("engine: {degrees: many}", "write a number"),
        ("transforms: {RandomGamma: {}}", "'transforms' is .*write a list"),
        ("transforms: [3]", "'transforms' has 3"),
        ("transforms: [{RandomGamma: 3}]", "write '- NAME' or '- NAME: {argument"),
        ("transforms: [RandomGama]", "no pixel transform 'RandomGama' .did you mean 'RandomGamma'"),
        ("transforms: [HorizontalFlip]", "HorizontalFlip moves .*see 'engine'"),
        ("transforms: [{RandomGamma: {limit: [80, 120]}}]", "no argument 'limit' .did you mean 'gamma_limit'"),
        ("transforms: [{RandomGamma: {gamma_limit: dark}}]", "RandomGamma: .*gamma_limit"),
        ("transforms: [{RandomGamma: {p: 3}}]", "RandomGamma has 'p: 3.0'; write a share"),
        ("transforms: [Normalize]", "Normalize cannot be used: it makes float32"),
        ("transforms: [FDA]", "FDA cannot be used: .*fda_metadata"),
        ("engine: {fliplr: 0.1", "broken YAML"),
    ],
)
def test_a_mistake_in_a_preset_ends_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        load_preset(file)
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_preset_that_is_not_there() -> None:
    with pytest.raises(UserError, match=r"--augmentation surfce: none is called so \(did you mean 'surface'"):
        load_preset("surfce")
    with pytest.raises(UserError, match=r"absent\.yaml: no such file.*board, light, none, surface"):
        load_preset("absent.yaml")


def test_albumentations_is_imported_where_a_preset_asks_for_it() -> None:
    code = (
        "import sys; from moat_det.data.augment import load_preset; import moat_det.data.loader.dataset; "
        "load_preset('none'); "
        "assert 'albumentations' not in sys.modules; load_preset('light'); assert 'albumentations' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["none", "light", "surface", "board"])
def test_workers_change_nothing_and_epochs_do(make_set: MakeSet, name: str) -> None:
    source = make_set({**FILES, "good.png": None})
    for i, file in enumerate(sorted((source.parent / "images/train").iterdir())):
        calm = np.random.default_rng(i).integers(100, 110, (HEIGHT, WIDTH), dtype=np.uint8)
        Image.fromarray(calm).save(file)  # all alike, so that defects can be pasted
    preset = load_preset(name)
    runs = []
    for workers in (0, 1, 2):
        dataset = open_set(source, preset, copy_paste=0.5)
        loader = make_loader(dataset, workers, torch.device("cpu"), shuffle=True)
        batches = []
        for epoch in (0, 1):
            loader.start_epoch(epoch)
            batches += list(loader)
        loader.close()
        runs.append(batches)
    for batches in runs[1:]:
        for ours, first in zip(batches, runs[0], strict=True):
            assert ours["im_file"] == first["im_file"]
            for key in ("img", "cls", "bboxes"):
                assert torch.equal(ours[key], first[key])
    pairs = [pair for batch in runs[0] for pair in zip(batch["im_file"], batch["img"], strict=True)]
    first_epoch, second_epoch = dict(pairs[:7]), dict(pairs[7:])
    assert any(not torch.equal(first_epoch[file], second_epoch[file]) for file in first_epoch)


def test_without_augmentation_an_image_is_the_same_in_every_epoch(make_set: MakeSet) -> None:
    dataset = open_set(make_set(FILES), load_preset("none"))
    first = dataset[0]
    dataset.epoch = 1
    assert torch.equal(dataset[0]["img"], first["img"])
    assert torch.equal(dataset[0]["bboxes"], first["bboxes"])


def test_no_two_images_share_their_noise(make_set: MakeSet) -> None:
    source = make_set(FILES)
    for file in (source.parent / "images/train").iterdir():
        Image.fromarray(np.full((HEIGHT, WIDTH), 128, np.uint8)).save(file)
    dataset = open_set(source, NOISE)
    seen = []
    for epoch in (0, 1):
        dataset.epoch = epoch
        seen += [dataset[i]["img"].numpy() for i in range(len(dataset))]
        assert np.array_equal(seen[-1], dataset[len(dataset) - 1]["img"].numpy())
    flat = np.stack([image[0, 20:40, 10:50].ravel() for image in seen]).astype(float)
    correlation = np.corrcoef(flat)
    assert flat.std(axis=1).min() > 10
    assert np.abs(correlation - np.eye(len(flat))).max() < 0.3


@pytest.mark.parametrize("transform", ["GaussNoise", "ISONoise", "RGBShift", "PlasmaShadow", "ImageCompression"])
def test_gray_images_in_three_channels_stay_gray(make_set: MakeSet, log: list[str], transform: str) -> None:
    source = make_set(FILES)
    make_gray(source)
    noise(seed=0).save(source.parent / "images/train/0.png")  # a mixed set, with one in colour
    preset = Preset(load_preset("none").engine, transforms=[{transform: {"p": 1.0}}])
    dataset, plain = open_set(source, preset), open_set(source, load_preset("none"))
    for i in range(1, len(dataset)):
        image = dataset[i]["img"].numpy()
        assert (image == image[:1]).all()
        works = transform != "ISONoise"
        assert np.array_equal(image, plain[i]["img"].numpy()) != works
    assert not np.array_equal(dataset[0]["img"].numpy(), plain[0]["img"].numpy())
    assert any("gray images go without ISONoise" in message for message in log) == (transform == "ISONoise")


@pytest.mark.parametrize(("channels", "without"), [(1, "ISONoise"), (5, "CLAHE, ISONoise")])
def test_other_numbers_of_bands_take_what_can_work_on_them(
    make_set: MakeSet, log: list[str], channels: int, without: str
) -> None:
    source = make_set(FILES)
    folder = source.parent / "images/train"
    for i, file in enumerate(sorted(folder.iterdir())):
        shape = (HEIGHT, WIDTH, channels)
        np.save(file.with_suffix(".npy"), np.random.default_rng(i).integers(0, 256, shape, dtype=np.uint8))
        file.unlink()
    (source.parent / "train.txt").write_text("\n".join(f"images/train/{i}.npy" for i in range(6)))
    text = source.read_text().replace("train: images/train", "train: train.txt")
    source.write_text(f"{text}channels: {channels}\n")
    entries = [{name: {"p": 1.0}} for name in ("CLAHE", "ISONoise", "GaussNoise")]
    dataset = open_set(source, Preset(load_preset("none").engine, transforms=entries))
    plain = open_set(source, load_preset("none"))
    assert dataset[0]["img"].shape == plain[0]["img"].shape == (channels, 64, 64)
    assert not torch.equal(dataset[0]["img"], plain[0]["img"])
    assert any(f"go without {without}, which" in message for message in log)


def test_the_engines_way_to_give_transforms_follows_the_seed_and_takes_the_presets_place(make_set: MakeSet) -> None:
    import albumentations

    source = make_set(FILES)
    given = [albumentations.Solarize(p=0.5), albumentations.HorizontalFlip(p=0.5)]
    dataset = open_set(source, NOISE, augmentations=given)
    state = torch.default_generator.get_state()
    before = [dataset[i]["img"] for i in range(6)]
    assert torch.equal(torch.default_generator.get_state(), state)
    torch.manual_seed(99)
    assert all(torch.equal(dataset[i]["img"], before[i]) for i in range(6))
    values = [image.float().std() for image in before]
    dataset.epoch = 1
    assert any(not torch.equal(dataset[i]["img"], before[i]) for i in range(6))
    assert len({round(float(value), 3) for value in values}) > 1


@pytest.mark.parametrize(("height", "width"), [(40, 40), (30, 50)])
def test_a_turned_box_stays_on_what_it_encloses(height: int, width: int) -> None:
    seen = set()
    for _ in range(40):
        image = np.zeros((height, width, 3), np.uint8)
        image[4:10, 6:24] = 255
        box = np.array([[15 / width, 7 / height, 18 / width, 6 / height]], np.float32)
        labels = {"img": image, "cls": np.zeros((1, 1)), "instances": Instances(box, normalized=True)}
        labels = QuarterTurns(1.0)(labels)
        assert labels["img"].shape == (height, width, 3)
        labels["instances"].convert_bbox("xyxy")
        x1, y1, x2, y2 = labels["instances"].bboxes[0].round(4).tolist()
        ys, xs = np.nonzero(labels["img"][..., 0])
        assert (x1, y1, x2, y2) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        seen.add((x1, y1))
    assert len(seen) == (3 if height == width else 1)


def test_rectangles_are_trained_with_the_surface_preset(make_set: MakeSet) -> None:
    dataset = open_set(make_set(FILES), load_preset("surface"), imgsz=96, shape=(64, 96), copy_paste=1.0)
    for i in range(len(dataset)):
        assert dataset[i]["img"].shape == (3, 64, 96)
