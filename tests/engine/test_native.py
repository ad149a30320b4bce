"""Images at their own size: their boxes, batches, windows, and the memory that they need."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.pairing import assert_same_boxes
from helpers.squares import Learnt
from moat_det.backbones import position_bias
from moat_det.backbones.moat import attention
from moat_det.backbones.position_bias import fit_table
from moat_det.backbones.windows import read_window
from moat_det.cli import main as cli
from moat_det.data.images.header import large_images, read_header
from moat_det.data.images.read import read_image
from moat_det.data.sizes.letterbox import PADDING
from moat_det.data.sizes.policy import NativeSize
from moat_det.engine import MOAT, memory_check, window_chooser
from moat_det.errors import UserError
from moat_det.evaluation.ground_truth import written_boxes

SHAPES = [(96, 96), (96, 96), (64, 90), (70, 96), (96, 96)]
COMMON: dict[str, Any] = {"imgsz": "native", "conf": 0.3, "max_det": 10, "amp": False}


@pytest.fixture(scope="module")
def pictures(learnt: Learnt, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five pictures of three shapes; the first two and the last have the same."""
    folder = tmp_path_factory.mktemp("pictures")
    for index, source in enumerate(sorted((learnt.data.parent / "images" / "val").iterdir())[: len(SHAPES)]):
        height, width = SHAPES[index]
        cv2.imwrite(str(folder / f"{index}.png"), cv2.imread(str(source))[:height, :width])
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def mixed(learnt: Learnt, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data.yaml of what the model has learnt, with val images scaled to several shapes."""
    folder = tmp_path_factory.mktemp("mixed")
    for part in ("images", "labels"):
        shutil.copytree(learnt.data.parent / part, folder / part)
    for index, path in enumerate(sorted((folder / "images" / "val").iterdir())):
        height, width = SHAPES[index % len(SHAPES)]
        cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path)), (width, height), interpolation=cv2.INTER_AREA))
    return write_yaml(folder, "square, disc")


def write_yaml(folder: Path, names: str) -> Path:
    (folder / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames: [{names}]\n")
    return folder / "data.yaml"


@pytest.fixture
def model(learnt: Learnt) -> MOAT:
    """A model whose boxes are of something, with scores that differ by more than rounding."""
    return MOAT(learnt.weights)


def boxes(results: Any) -> list[np.ndarray]:
    return [result.boxes.data.numpy() for result in results]


def assert_same_rows(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
    """Pair the detections of two files."""
    tables: list[dict[int, list[list[float]]]] = [{}, {}]
    for table, rows in zip(tables, (first, second), strict=True):
        for row in rows:
            table.setdefault(row["image_id"], []).append([*row["bbox"], row["score"], row["category_id"]])
    assert tables[0].keys() == tables[1].keys()
    for image, boxes_of in tables[0].items():
        assert_same_boxes(np.array(boxes_of), np.array(tables[1][image]), atol=0.05)


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(1, 9000),
    width=st.integers(1, 9000),
    stride=st.sampled_from([32, 64]),
    most=st.none() | st.integers(1, 10**8),
)
def test_sizes(height: int, width: int, stride: int, most: int | None) -> None:
    size = NativeSize(stride, most)
    rows, columns = size.scaled(height, width)
    if most is None or height * width <= most:
        assert (rows, columns) == (height, width)
    else:
        assert rows * columns <= max(most, rows, columns)
        assert rows == 1 or columns == 1 or rows / columns == pytest.approx(height / width, rel=2 / min(rows, columns))
    padded = size.padded(height, width)
    for side, whole in zip((rows, columns), padded, strict=True):
        assert whole % stride == 0
        assert side <= whole < side + stride


def test_padding_is_at_the_bottom_and_the_right() -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 70, 3), np.uint8)
    fitted, _ = NativeSize(32).fit(image)
    assert fitted.shape == (64, 96, 3)
    assert np.array_equal(fitted[:40, :70], image)
    assert (fitted[40:] == PADDING).all()
    assert (fitted[:, 70:] == PADDING).all()
    assert NativeSize(32).fit(fitted)[0] is fitted, "a copy for nothing"


def test_images_are_grouped_by_shape() -> None:
    shapes = [(64, 64), (32, 96), (64, 64), (96, 96), (64, 64)]
    batches = NativeSize(32).batches(shapes, 2)
    assert [batch.images for batch in batches] == [[3], [0, 2], [4], [1]]
    assert [batch.shape for batch in batches] == [(96, 96), (64, 64), (64, 64), (32, 96)]


def test_boxes_are_those_of_the_same_image_as_a_tensor(model: MOAT, pictures: list[Path]) -> None:
    for path in pictures:
        image = cv2.imread(str(path))
        height, width = image.shape[:2]
        canvas = np.full((96, 96, 3), PADDING, np.uint8)
        canvas[:height, :width] = image
        tensor = torch.from_numpy(canvas[..., ::-1].copy()).permute(2, 0, 1)[None] / 255
        rows = math.ceil(height / 32) * 32
        expected = boxes(model(tensor[:, :, :rows], **{**COMMON, "imgsz": 96}))[0]
        expected[:, [0, 2]] = expected[:, [0, 2]].clip(0, width)
        expected[:, [1, 3]] = expected[:, [1, 3]].clip(0, height)
        assert_same_boxes(boxes(model(str(path), **COMMON))[0], expected, atol=1e-2)


@pytest.mark.parametrize("as_arrays", [False, True])
def test_batches_of_one_shape_have_the_boxes_of_single_images(
    as_arrays: bool, model: MOAT, pictures: list[Path], tmp_path: Path
) -> None:
    source: Any = [cv2.imread(str(path)) for path in pictures] if as_arrays else str(pictures[0].parent)
    sizes = []
    model.add_callback("on_predict_postprocess_end", lambda predictor: sizes.append(len(predictor.batch[0])))
    together = boxes(model(source, batch=4, **COMMON))
    # 70 x 96 is padded to 96 x 96 too; lists and files come four at a time.
    assert sizes == [2, 1, 1, 1]
    for path, found in zip(pictures, together, strict=True):
        assert_same_boxes(found, boxes(model(str(path), **COMMON))[0], atol=1e-2)


def test_max_pixels_keeps_boxes_in_the_files_pixels(
    model: MOAT, pictures: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = cv2.imread(str(pictures[0]))
    # Every pixel twice in each direction: scaled down by two it is the image again.
    cv2.imwrite(str(tmp_path / "twice.png"), image.repeat(2, axis=0).repeat(2, axis=1))
    with caplog.at_level("WARNING", logger="moat_det"):
        found = boxes(model(str(tmp_path / "twice.png"), max_pixels=96 * 96, **COMMON))[0]
    expected = boxes(model(str(pictures[0]), **COMMON))[0]
    expected[:, :4] *= 2
    assert_same_boxes(found, expected, atol=1e-2)
    assert "192 x 192 is scaled down to 96 x 96" in caplog.text


def test_a_tensor_is_not_scaled(model: MOAT, pictures: list[Path]) -> None:
    tensor = torch.from_numpy(cv2.imread(str(pictures[0]))).permute(2, 0, 1)[None] / 255
    expected = boxes(model(tensor, **COMMON))[0]
    assert len(expected)
    assert np.array_equal(boxes(model(tensor, max_pixels=32 * 32, **COMMON))[0], expected)


def test_validation_by_shape_gives_the_figures_of_single_images(model: MOAT, mixed: Path, tmp_path: Path) -> None:
    figures, files = [], []
    for batch in (1, 4):
        common = {"data": str(mixed), "imgsz": "native", "project": str(tmp_path), "plots": batch == 4, "amp": False}
        common["conf"] = 0.05  # below are boxes of the whole image, of which rounding chooses
        figures.append(model.val(batch=batch, name=f"batch{batch}", **common))
        files.append(json.loads((tmp_path / f"batch{batch}" / "predictions.json").read_text()))
    assert pytest.approx(figures[1].AP, abs=1e-6) == figures[0].AP
    assert figures[0].AP50 > 0.5
    assert files[0]
    assert_same_rows(*files)


def test_validation_and_prediction_find_the_same(model: MOAT, mixed: Path, tmp_path: Path) -> None:
    options = {"conf": 0.3, "max_det": 5, "imgsz": "native", "amp": False, "max_pixels": 5000}
    model.val(data=str(mixed), project=str(tmp_path), plots=False, batch=1, **options)
    written = json.loads((tmp_path / "val" / "predictions.json").read_text())
    images = sorted((mixed.parent / "images" / "val").iterdir())
    assert len({row["image_id"] for row in written}) > 1
    for number, path in enumerate(images, 1):
        rows = [row for row in written if row["image_id"] == number]
        found = boxes(model(str(path), **options))[0]
        # To the last digit: where an IoU lies at a limit, a thousandth of a pixel changes AP.
        assert sorted(written_boxes(found[:, :4]).tolist()) == sorted(row["bbox"] for row in rows)
        corners = [[x, y, x + width, y + height] for x, y, width, height in (row["bbox"] for row in rows)]
        expected = np.column_stack(
            [np.reshape(corners, (-1, 4)), [row["score"] for row in rows], [row["category_id"] - 1 for row in rows]]
        )
        assert_same_boxes(found, expected, atol=0.01, score_atol=1e-5)


def test_a_video(trained: Path, pictures: list[Path], tmp_path: Path) -> None:
    video = tmp_path / "strip.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"MJPG"), 10, (90, 64))
    for shade in (40, 200):
        writer.write(np.full((64, 90, 3), shade, np.uint8))
    writer.release()
    words = ["--weights", str(trained / "weights" / "best.pt"), "--source", str(video), "--imgsz", "native"]
    cli.detect([*words, "--batch", "2", "--project", str(tmp_path / "runs"), "--debug"])
    assert list((tmp_path / "runs" / "detect").glob("strip.*"))


@pytest.mark.parametrize("words", [["--imgsz", "native"], ["--imgsz", "480"], ["--imgsz", "320", "480"]])
@pytest.mark.parametrize("command", ["detect", "val"])
def test_a_pass_that_does_not_fit_is_refused_with_what_would(
    command: str,
    words: list[str],
    trained: Path,
    demo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    images = tmp_path / "images" / "val"
    images.mkdir(parents=True)
    for path in sorted((demo.parent / "images" / "val").iterdir())[:2]:
        cv2.imwrite(str(images / path.name), cv2.resize(cv2.imread(str(path)), (500, 300)))
    data = write_yaml(tmp_path, "scratch, pit, stain, missing_pad")
    monkeypatch.setattr(memory_check, "available_memory", lambda device: 30_000_000)
    monkeypatch.setattr(memory_check, "predict_memory", lambda model, shape, dtype: 10**6 + 250 * math.prod(shape))

    begin = ["--weights", str(trained / "weights" / "best.pt"), "--project", str(tmp_path / "runs")]
    begin += ["--source", str(images)] if command == "detect" else []
    begin += ["--data", str(data), "--batch", "2"] if command == "val" else []
    with pytest.raises(SystemExit) as stopped:
        getattr(cli, command)([*begin, *words])
    assert stopped.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "of memory, 0.027 GB can be used" in line
    assert line.endswith("would fit")
    assert (", 2 images at once," in line) == (command == "val")
    # What it offers does fit.
    option = "--max-pixels" if "native" in words else "--imgsz"
    numbers = len(words) - 1
    offered = line.partition(option)[2].split()[:numbers]
    smaller = [*words, option, *offered] if "native" in words else [option, *offered]
    getattr(cli, command)([*begin, *smaller, "--debug"])


def test_memory_is_predicted_only_where_it_could_matter(
    model: MOAT, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_check, "predict_memory", lambda *_: pytest.fail("it takes seconds"))
    monkeypatch.setattr(memory_check, "available_memory", lambda device: 2 * 10**9)
    model(str(pictures[0]), **COMMON)


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("full", "full"),
        ("auto:4096", "auto:4096"),
        ("14", 14),
        (7, 7),
        ("14x28", [14, 28]),
        ("[null, null, 14X28, auto]", [None, None, [14, 28], "auto"]),
        ((None, None, (3, 4), 7), [None, None, [3, 4], 7]),
    ],
)
def test_windows_as_a_user_writes_them(text: Any, window: Any) -> None:
    assert read_window(text) == window


@pytest.mark.parametrize("text", ["", "0", "14x", "x", "auto:", "[1, 2", "[null, 7, 7, 7]", "-3", "7.5", True])
def test_windows_that_are_none(text: Any) -> None:
    with pytest.raises(UserError, match="window"):
        read_window(text)


def test_validation_remembers_the_tables_of_a_size(
    model: MOAT, learnt: Learnt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = []

    def count(table: torch.Tensor, *size: Any) -> torch.Tensor:
        fitted.append(size)
        return fit_table(table, *size)

    monkeypatch.setattr(position_bias, "fit_table", count)
    monkeypatch.setattr(attention, "fit_table", count)
    model.val(data=str(learnt.data), imgsz=96, batch=4, plots=False, project=str(tmp_path))
    assert len(fitted) == 9  # once a block of attention, not once a batch


def windows_of(model: MOAT) -> set[Any]:
    """The attention windows of the model that detected last."""
    assert model.predictor is not None
    modules = model.predictor.model.model.modules()
    return {module.window for module in modules if isinstance(module, attention.Attention)}


def test_windows_are_chosen_for_the_size_of_the_image(
    model: MOAT, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    large, small = tmp_path / "large.png", tmp_path / "small.png"
    cv2.imwrite(str(small), cv2.imread(str(pictures[0]))[:64, :64])
    cv2.imwrite(str(large), np.tile(cv2.imread(str(pictures[0])), (2, 2, 1)))  # things of the size that was learnt
    monkeypatch.setattr(window_chooser, "BEYOND_TRAINING", {"window": 2, "position": "stretch"})
    for module in model.model.modules():
        if isinstance(module, attention.Attention):
            module.o.weight.data *= 50  # after so few steps attention says hardly anything
    with caplog.at_level("INFO", logger="moat_det"):
        small_default = boxes(model(str(small), **COMMON))[0]
        assert "Attention windows" not in caplog.text, "64 px is the training's"
        large_default = boxes(model(str(large), **COMMON))[0]
    assert len(small_default)
    assert len(large_default)
    assert caplog.text.count("Attention windows 2, position tables stretch: for images larger than those") == 1
    caplog.clear()
    with caplog.at_level("INFO", logger="moat_det"):
        assert_same_boxes(boxes(model(str(large), window=2, **COMMON))[0], large_default, atol=1e-3)
        assert "Attention windows 2; those of the training were full" in caplog.text
    assert windows_of(model) == {(2, 2)}
    full = boxes(model(str(large), window="full", **COMMON))[0]
    assert windows_of(model) == {None}
    with pytest.raises(AssertionError):
        assert_same_boxes(full, large_default, atol=0.1)
    assert_same_boxes(boxes(model(str(small), window="full", **COMMON))[0], small_default, atol=1e-3)


def test_the_windows_of_a_training_are_in_its_checkpoint(demo: Path, model_yaml: Path, tmp_path: Path) -> None:
    model = MOAT(model_yaml)
    common = {"imgsz": 64, "batch": 8, "epochs": 1, "plots": False, "workers": 0, "project": str(tmp_path)}
    model.train(data=str(demo), window="2x3", **common)
    again = MOAT(tmp_path / "train" / "weights" / "best.pt")
    assert again.model.yaml["backbone"]["window"] == model.model.yaml["backbone"]["window"] != "full"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"max_pixels": 1000}, "--imgsz native"),
        ({"imgsz": "native", "max_pixels": 0}, "--max-pixels 0"),
        ({"imgsz": "native", "max_pixels": 1023}, "--max-pixels 1023: must be 1024"),
        ({"window": "everything"}, "everything"),
        ({"position": "bend"}, "bend"),
        ({"imgsz": "natural"}, "natural"),
    ],
)
def test_what_a_user_gets_wrong(arguments: dict[str, Any], said: str, model: MOAT, pictures: list[Path]) -> None:
    with pytest.raises(UserError) as caught:
        model(str(pictures[0]), **arguments)
    assert said in str(caught.value)


def test_training_takes_one_size(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.train(["--data", str(demo), "--imgsz", "native"])
    assert stopped.value.code == 2
    assert "--imgsz native" in capsys.readouterr().err


def test_images_beyond_pillows_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2**30 // 12)  # Pillow's own: SAHI takes it away for good
    path = tmp_path / "board.png"
    Image.new("1", (14_000, 14_000), 1).save(path)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(path)
    with large_images():
        assert Image.open(path).size == (14_000, 14_000)
        header = read_header(path)
    assert (header.height, header.width) == (14_000, 14_000)
    assert read_image(path).shape == (14_000, 14_000, 1)


def test_an_image_that_is_too_large_is_left_out_of_a_folder(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, side in (("a", 64), ("b", 640), ("c", 96)):
        (tmp_path / "images").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), np.full((side, side, 3), 90, np.uint8))
    monkeypatch.setattr(memory_check, "available_memory", lambda device: 30_000_000)
    monkeypatch.setattr(memory_check, "predict_memory", lambda model, shape, dtype: 10**6 + 250 * math.prod(shape))
    model = MOAT(trained / "weights" / "best.pt")
    for batch, source in ((1, str(tmp_path / "images")), (4, sorted((tmp_path / "images").iterdir()))):
        caplog.clear()
        results = model.predict(source, batch=batch, **COMMON)
        assert [Path(result.path).name for result in results] == ["a.png", "c.png"]
        assert [path.name for path in model.predictor.unreadable] == ["b.png"]
        assert caplog.text.count("b.png: 640 x 640 ") == 1
        assert "of memory, 0.027 GB can be used" in caplog.text
    with pytest.raises(UserError, match="would fit"):  # which is all that there is
        model.predict(str(tmp_path / "images" / "b.png"), **COMMON)
