"""Images of more than 8 bits, and of other than three bands, from training through the checkpoint to detection."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from moat_det import MOAT
from moat_det.cli import main as cli
from moat_det.data.images.intensity import Intensity
from moat_det.data.images.read import read_image
from moat_det.detector.build import build_model
from moat_det.engine.checkpoint import load_checkpoint
from moat_det.engine.fine_tuning import load_weights
from moat_det.errors import UserError

SMALL = ["--imgsz", "64", "--batch", "8", "--workers", "0", "--debug"]
LOW, HIGH = 1200, 2400  # of 12 bits, as a camera gives them that is not driven to its limits


@pytest.fixture(scope="module")
def deep(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo set with 16-bit images, whose high bytes are 4 to 9."""
    root = tmp_path_factory.mktemp("deep") / "set"
    shutil.copytree(demo.parent, root)
    data = root / demo.name
    data.write_text(data.read_text().replace(str(demo.parent), str(root)))
    for file in sorted((root / "images").rglob("*.*")):
        gray = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        file.unlink()
        cv2.imwrite(str(file.with_suffix(".png")), (LOW + gray * ((HIGH - LOW) / 255)).astype(np.uint16))
    return data


@pytest.fixture(scope="module")
def run(deep: Path, model_yaml: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training on it."""
    project = tmp_path_factory.mktemp("runs")
    words = [
        "--data",
        str(deep),
        "--model",
        str(model_yaml),
        "--epochs",
        "2",
        "--project",
        str(project),
        "--plots",
        "false",
    ]
    cli.train([*words, "--save-period", "1", *SMALL])
    return project / "train"


def images(data: Path) -> list[Path]:
    return sorted((data.parent / "images/val").iterdir())


def test_the_range_of_the_training_images_is_in_the_checkpoint(run: Path) -> None:
    for name in ("best.pt", "last.pt"):
        intensity = Intensity.from_dict(load_checkpoint(run / "weights" / name).intensity)
        ((lo, hi),) = intensity.windows
        assert intensity.kind == "auto"
        assert LOW <= lo < hi <= HIGH
        assert hi - lo > 0.8 * (HIGH - LOW)


def test_detection_and_validation_use_it(run: Path, deep: Path, tmp_path: Path) -> None:
    model = MOAT(run / "weights" / "best.pt")
    file = images(deep)[0]
    samples = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    mapped = load_intensity(run).to_uint8(samples[..., None])
    assert len(np.unique(mapped)) > 100
    (found,) = model.predict(file, imgsz=64, conf=0.001, verbose=False, project=tmp_path)
    assert np.array_equal(found.orig_img, np.repeat(mapped, 3, axis=2))
    figures = model.val(data=str(deep), imgsz=64, workers=0, plots=False, project=tmp_path)
    shallow = to_8_bits(deep, tmp_path / "shallow", load_intensity(run))
    same = model.val(data=str(shallow), imgsz=64, workers=0, plots=False, project=tmp_path)
    assert figures.AP50 == same.AP50
    assert figures.AP == same.AP


def load_intensity(run: Path) -> Intensity:
    return Intensity.from_dict(load_checkpoint(run / "weights" / "best.pt").intensity)


def to_8_bits(data: Path, root: Path, intensity: Intensity) -> Path:
    shutil.copytree(data.parent, root)
    copied = root / data.name
    copied.write_text(data.read_text().replace(str(data.parent), str(root)))
    for file in sorted((root / "images").rglob("*.png")):
        cv2.imwrite(str(file), intensity.to_uint8(cv2.imread(str(file), cv2.IMREAD_UNCHANGED)[..., None]))
    return copied


def test_sources_in_memory_and_lists_are_read_alike(run: Path, deep: Path, tmp_path: Path) -> None:
    model = MOAT(run / "weights" / "best.pt")
    file = images(deep)[0]
    samples = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    settings = {"imgsz": 64, "conf": 0.001, "verbose": False, "project": tmp_path}
    (expected,) = model.predict(file, **settings)
    sources = {"array": samples, "list": [str(file)], "picture": Image.open(file), "pictures": [Image.open(file)]}
    for name, source in sources.items():
        (found,) = model.predict(source, **settings)
        assert np.array_equal(found.orig_img, expected.orig_img), name
        assert torch.equal(found.boxes.data, expected.boxes.data), name
        assert Path(found.path).name == (file.name if name != "array" else "image0.jpg")


@pytest.mark.parametrize("batch", [1, 3, 20])
def test_a_folder_keeps_its_order_and_names_what_is_broken(run: Path, deep: Path, tmp_path: Path, batch: int) -> None:
    folder = tmp_path / "source"
    shutil.copytree(images(deep)[0].parent, folder)
    files = sorted(folder.iterdir())
    files[4].write_bytes(files[4].read_bytes()[:300])
    model = MOAT(run / "weights" / "best.pt")
    found = model.predict(folder, imgsz=64, batch=batch, verbose=False, project=tmp_path)
    assert [Path(result.path) for result in found] == files[:4] + files[5:]
    assert model.predictor.unreadable == [files[4]]


def test_a_broken_file_of_a_list_is_named(run: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    with pytest.raises(UserError, match=f"{broken}: it cannot be decoded"):
        MOAT(run / "weights" / "best.pt").predict([broken], imgsz=64, project=tmp_path)


def test_a_resumed_run_keeps_its_range(run: Path, tmp_path: Path) -> None:
    weights = tmp_path / "train" / "weights"
    shutil.copytree(run, weights.parent)
    kept = Intensity("auto", ((1000.0, 2000.0),))  # what the images would not give
    replace(load_checkpoint(weights / "epoch1.pt"), intensity=kept.to_dict()).save(weights / "epoch1.pt")
    cli.train(["--resume", str(weights / "epoch1.pt"), "--debug"])
    assert Intensity.from_dict(load_checkpoint(weights / "last.pt").intensity) == kept


def test_checkpoints_of_format_1_read_the_high_byte(run: Path, deep: Path, tmp_path: Path) -> None:
    content = torch.load(run / "weights" / "best.pt", weights_only=True)
    del content["intensity"]
    torch.save({**content, "format": "moat_det checkpoint 1"}, tmp_path / "old.pt")
    (found,) = MOAT(tmp_path / "old.pt").predict(images(deep)[0], imgsz=64, verbose=False, project=tmp_path)
    high = cv2.imread(str(images(deep)[0]), cv2.IMREAD_UNCHANGED) >> 8
    assert np.abs(found.orig_img[..., 0].astype(int) - high).max() <= 1


def test_another_intensity_in_the_yaml_is_not_used(
    run: Path, deep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = tmp_path / "data.yaml"
    changed.write_text(f"{deep.read_text()}\nintensity: full\n")
    warnings: list[str] = []
    monkeypatch.setattr("moat_det.data.of_model.logger.warning", warnings.append)
    model = MOAT(run / "weights" / "best.pt")
    words = {"imgsz": 64, "workers": 0, "plots": False, "project": tmp_path}
    figures = model.val(data=str(changed), **words)
    assert sum("'intensity: full' is not used, the weights were trained with auto [" in text for text in warnings) == 1
    warnings.clear()
    assert model.val(data=str(deep), **words).AP == figures.AP
    assert not any("intensity" in text for text in warnings)


def test_a_model_that_saw_8_bits_finds_the_same_in_16(
    trained: Path, demo: Path, tmp_path: Path, log: list[str]
) -> None:
    model = MOAT(trained / "weights" / "best.pt")
    shallow = [cv2.imread(str(file)) for file in images(demo)[:3]]
    for number, image in enumerate(shallow):
        cv2.imwrite(str(tmp_path / f"{number}.png"), image.astype(np.uint16) * 257)
    words = {"imgsz": 64, "conf": 0.001, "verbose": False, "project": tmp_path / "runs"}
    expected = model.predict(shallow, **words)
    assert not log
    deep_arrays = [image.astype(np.uint16) * 257 for image in shallow]
    for source in (tmp_path, [tmp_path / f"{number}.png" for number in range(3)], deep_arrays):
        log.clear()
        for one, other in zip(model.predict(source, **words), expected, strict=True):
            assert len(one)
            assert torch.equal(one.boxes.data, other.boxes.data)
        assert sum("trained on 8 bits, and there are images of uint16" in line for line in log) == 1
    with pytest.raises(UserError, match="no meaning for floating samples"):
        model.predict(shallow[0].astype(np.float32), **words)


def test_validation_maps_16_bits_as_detection_does(trained: Path, demo: Path, tmp_path: Path, log: list[str]) -> None:
    root = tmp_path / "set"
    shutil.copytree(demo.parent, root)
    data = root / demo.name
    data.write_text(data.read_text().replace(str(demo.parent), str(root)))
    for file in images(data):
        image = cv2.imread(str(file)).astype(np.uint16) * 257
        file.unlink()
        cv2.imwrite(str(file.with_suffix(".png")), image)
    model = MOAT(trained / "weights" / "best.pt")
    words = {"imgsz": 64, "workers": 0, "plots": False, "project": tmp_path / "runs"}
    expected = model.val(data=str(demo), **words)
    assert not any("of the training had 8" in line for line in log)
    figures = model.val(data=str(data), **words)
    assert figures.per_class == expected.per_class
    assert sum("those of the training had 8" in line for line in log) == 1


def test_a_model_that_saw_16_bits_tells_of_8(run: Path, deep: Path, demo: Path, tmp_path: Path, log: list[str]) -> None:
    model = MOAT(run / "weights" / "best.pt")
    words = {"imgsz": 64, "project": tmp_path}
    model.predict(images(deep)[0].parent, verbose=False, **words)
    model.val(data=str(deep), workers=0, plots=False, **words)
    assert not any("as they are" in line for line in log)
    model.predict(images(demo)[0].parent, verbose=False, **words)
    assert sum("there are images of 8 bits, which stay as they are" in line for line in log) == 1
    model.val(data=str(demo), workers=0, plots=False, **words)
    assert sum("have 8 bits per sample and stay as they are" in line for line in log) == 1


def test_a_checkpoint_says_that_the_training_had_8_bits(trained: Path, tmp_path: Path) -> None:
    model = MOAT(trained / "weights" / "best.pt")
    model.save(tmp_path / "saved.pt")
    assert load_checkpoint(tmp_path / "saved.pt").intensity == Intensity().to_dict()


# Bands


@pytest.fixture(scope="module")
def banded(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo set with five bands of 12 bits, each of a range of its own, as pages of a TIFF."""
    root = tmp_path_factory.mktemp("banded") / "set"
    shutil.copytree(demo.parent, root)
    for file in sorted((root / "images").rglob("*.*")):
        gray = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        file.unlink()
        pages = [(100 * band + gray * (band + 1.5)).astype(np.uint16) for band in range(5)]
        cv2.imwritemulti(str(file.with_suffix(".tif")), pages)
    data = root / demo.name
    data.write_text(data.read_text().replace(str(demo.parent), str(root)) + "\nchannels: 5\n")
    return data


@pytest.fixture(scope="module")
def banded_run(banded: Path, trained: Path, model_yaml: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training on it, from the weights of a training on three."""
    project = tmp_path_factory.mktemp("banded_runs")
    words = ["--data", str(banded), "--model", str(model_yaml), "--weights", str(trained / "weights" / "best.pt")]
    cli.train([*words, "--epochs", "1", "--project", str(project), "--mixup", "0.5", "--degrees", "10", *SMALL])
    return project / "train"


def test_each_band_has_a_range_of_its_own(banded_run: Path) -> None:
    checkpoint = load_checkpoint(banded_run / "weights" / "best.pt")
    windows = Intensity.from_dict(checkpoint.intensity).windows
    assert checkpoint.channels == 5
    assert [100 * band <= lo < hi <= 100 * band + 255 * (band + 1.5) for band, (lo, hi) in enumerate(windows)] == [
        True
    ] * 5
    assert checkpoint.build().model.backbone.stem.conv_0.in_channels == 5
    assert (banded_run / "train_batch0.jpg").is_file()


def test_the_first_kernel_adapts_to_the_bands(trained: Path) -> None:
    path = trained / "weights" / "best.pt"
    rgb = load_checkpoint(path).build().eval()
    model = build_model(rgb.yaml, len(rgb.names), dict(rgb.names), channels=5).eval()
    load_weights(model, str(path), remap_classes=True)
    kernel = model.backbone.stem.conv_0
    same = torch.randn(1, 1, 32, 32)
    torch.testing.assert_close(
        kernel(same.expand(-1, 5, -1, -1)), rgb.backbone.stem.conv_0(same.expand(-1, 3, -1, -1)), atol=1e-5, rtol=1e-4
    )


def test_detection_and_validation_of_bands(banded_run: Path, banded: Path, tmp_path: Path) -> None:
    weights = str(banded_run / "weights" / "best.pt")
    own_size = ("--imgsz", "native")
    for number, size in enumerate((("--imgsz", "64"), own_size)):
        project = ["--project", str(tmp_path / str(number)), "--debug", *size]
        cli.val(["--weights", weights, "--data", str(banded), "--workers", "0", *project])
        words = ["--weights", weights, "--source", str(images(banded)[0].parent), "--conf", "0.0001", "--batch", "3"]
        cli.detect([*words, "--save-crop", *project])
        pictures = sorted((tmp_path / str(number) / "detect").glob("*.jpg"))
        assert len(pictures) == 12
        assert cv2.imread(str(pictures[0])).shape == (96, 96, 3)


def test_a_list_and_arrays_of_bands(banded_run: Path, banded: Path, tmp_path: Path) -> None:
    model = MOAT(banded_run / "weights" / "best.pt")
    file = images(banded)[0]
    settings = {"imgsz": 64, "conf": 0.0001, "verbose": False, "project": tmp_path}
    (expected,) = model.predict(file, **settings)
    samples = read_image(file, channels=5)
    np.save(tmp_path / "named.npy", samples)
    for source in ([str(file)], samples, [samples], tmp_path / "named.npy", f"{tmp_path}/*.npy"):
        (found,) = model.predict(source, **settings)
        assert torch.equal(found.boxes.data, expected.boxes.data)


def test_another_number_of_channels_is_told_in_a_line(
    banded_run: Path, banded: Path, demo: Path, tmp_path: Path
) -> None:
    model = MOAT(banded_run / "weights" / "best.pt")
    with pytest.raises(UserError, match=r"take images of 5 channels, .*data\.yaml has 3"):
        model.val(data=str(demo), imgsz=64, workers=0, plots=False, project=tmp_path)
    files = images(demo)
    model.predict(files[0].parent, imgsz=64, verbose=False, project=tmp_path)
    assert model.predictor.unreadable == files
    changed = tmp_path / "data.yaml"
    changed.write_text(banded.read_text().replace("channels: 5", "channels: 4"))
    with pytest.raises(UserError, match=r"it has 5 pages of 96x96; 'channels: 4' needs 4 gray ones of one size"):
        MOAT("tiny_moat0").train(data=str(changed), imgsz=64, epochs=1, workers=0, project=tmp_path / "runs")


def test_gray_as_one_channel(deep: Path, model_yaml: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.yaml"
    data.write_text(f"{deep.read_text()}\nchannels: 1\n")
    model = MOAT(model_yaml)
    words = {"imgsz": 64, "workers": 0, "plots": False, "project": tmp_path}
    model.train(data=str(data), epochs=1, batch=8, **words)
    loaders = (model.trainer.train_loader, model.trainer.test_loader)
    assert [loader.dataset.intensity for loader in loaders] == [model.trained.intensity] * 2
    assert model.trained.intensity.windows
    (found,) = model.predict(images(deep)[0], imgsz=64, verbose=False, project=tmp_path)
    assert found.orig_img.shape == (96, 96, 3)
    model.val(data=str(data), **{**words, "imgsz": "native"})
