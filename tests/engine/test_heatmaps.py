"""Heat maps of a detection: what no good part looks like is marked where it is, whether or not a detector knows it."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from helpers.squares import GROUND, Learnt
from moat_det.cli import main as cli
from moat_det.detector import precision
from moat_det.engine import MOAT, memory_check
from moat_det.errors import UserError

SIDE = 12  # of a planted defect
SHAPES = [(64, 96), (96, 64), (64, 64)]
QUIET: dict[str, Any] = {"imgsz": 64, "conf": 0.3, "save": False, "verbose": False, "amp": False}


def part(number: int, shape: tuple[int, int], defect: tuple[int, int] | None = None) -> np.ndarray:
    """Draw a rough surface (H, W, 3), with a dark cross at (x, y), which the model has never seen."""
    image = np.random.default_rng(number).normal(GROUND, 6, (*shape, 1)).repeat(3, axis=2)
    if defect is not None:
        x, y = defect
        image[y : y + SIDE, x + SIDE // 3 : x + 2 * SIDE // 3] = 20
        image[y + SIDE // 3 : y + 2 * SIDE // 3, x : x + SIDE] = 20
    return image.clip(0, 255).astype(np.uint8)


def save(folder: Path, images: Sequence[np.ndarray]) -> Path:
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        cv2.imwrite(str(folder / f"{number:02}.png"), image)
    return folder


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 24 good parts of three shapes."""
    return save(tmp_path_factory.mktemp("parts") / "good", [part(number, SHAPES[number % 3]) for number in range(24)])


@pytest.fixture(scope="module")
def found(learnt: Learnt, good: Path) -> Path:
    """The folder of a run on a good and a defective part, and its own good parts' bank."""
    source = save(good.parent / "source", [part(100, (64, 96)), part(101, (64, 96), (60, 20))])
    assert detect(learnt.weights, source, good, good.parent, "--save-csv", "--save-json", "--save-maps", "npy") == 4
    return good.parent / "detect"


def detect(weights: Path, source: Path, good_parts: Path, project: Path, *words: str) -> int:
    given = ["--weights", str(weights), "--source", str(source), "--project", str(project), "--verbose", "false"]
    size = ["--imgsz", "64", "--conf", "0.3", "--amp", "false"]
    return cli.run("detect", [*given, *size, "--heatmap", "--good-parts", str(good_parts), *words, "--debug"])


def look(model: MOAT, good_parts: Path, source: Any, **more: Any) -> Any:
    return model.predict(source, heatmap=True, good_parts=str(good_parts), **{**QUIET, **more})


def rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.open(encoding="utf-8")))


@pytest.mark.parametrize("imgsz", [96, "native"])
def test_the_highest_place_is_the_planted_defect(learnt: Learnt, good: Path, imgsz: int | str) -> None:
    model = MOAT(learnt.weights)
    places = {(64, 96): (60, 20), (96, 64): (30, 70), (64, 64): (8, 40), (56, 112): (90, 30)}
    results = look(model, good, [part(200 + len(shape), shape, xy) for shape, xy in places.items()], imgsz=imgsz)
    for result, (shape, (x, y)) in zip(results, places.items(), strict=True):
        heatmap = result.heatmap
        assert heatmap is not None
        assert heatmap.values.shape == shape
        assert heatmap.anomaly.looks == "unlike"
        assert x - 4 <= heatmap.anomaly.x < x + SIDE + 4
        assert y - 4 <= heatmap.anomaly.y < y + SIDE + 4
        far = np.ones(shape, bool)
        far[max(y - 24, 0) : y + SIDE + 24, max(x - 24, 0) : x + SIDE + 24] = False
        assert np.median(heatmap.values[far]) < 0.7 * heatmap.anomaly.score


def test_a_moved_defect_moves_the_map(learnt: Learnt, good: Path) -> None:
    images = [part(300, (96, 96), (20, 24)), part(300, (96, 96), (52, 24)), part(300, (96, 96), (20, 56))]
    first, right, below = (each.heatmap.anomaly for each in look(MOAT(learnt.weights), good, images, imgsz=96))
    assert abs(right.x - first.x - 32) <= 4
    assert abs(right.y - first.y) <= 4
    assert abs(below.y - first.y - 32) <= 4
    assert abs(below.x - first.x) <= 4


def test_good_parts_look_good(learnt: Learnt, good: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = MOAT(learnt.weights)
    defect, *fresh = look(
        model, good, [part(400, (64, 96), (30, 30)), *(part(n, SHAPES[n % 3]) for n in range(401, 413))]
    )
    scores = [each.heatmap.anomaly.score for each in fresh]
    assert np.median(scores) < 1 < defect.heatmap.anomaly.score
    assert max(scores) < defect.heatmap.anomaly.score
    with caplog.at_level(logging.WARNING):
        same = [each.heatmap.anomaly.score for each in look(model, good, str(good))]
    assert "24 image(s) of the source are among the good parts" in caplog.text
    assert sum(score < 1e-4 for score in same) == 18  # the others were held out
    assert max(same) == pytest.approx(1, abs=1e-4)


def test_the_detections_are_those_without(learnt: Learnt, good: Path) -> None:
    model, images = MOAT(learnt.weights), sorted((learnt.data.parent / "images" / "val").iterdir())[:4]
    sources = [str(path) for path in images]
    with_maps, without = look(model, good, sources), list(model.predict(sources, **QUIET))
    for one, other in zip(with_maps, without, strict=True):
        assert len(one) > 0
        np.testing.assert_array_equal(one.boxes.data.numpy(), other.boxes.data.numpy())
        assert other.heatmap is None
    assert not any(module._forward_hooks for module in model.predictor.model.modules())


def test_a_batch_is_as_its_images(learnt: Learnt, good: Path) -> None:
    model = MOAT(learnt.weights)
    images = [part(500 + number, SHAPES[number % 3], (20, 20)) for number in range(6)]
    one, three = look(model, good, images), look(model, good, images, batch=3)
    for alone, together in zip(one, three, strict=True):
        np.testing.assert_allclose(together.heatmap.values, alone.heatmap.values, rtol=1e-3, atol=1e-3)


def test_files(found: Path) -> None:
    bad, fine = (
        next(row for row in rows(found / "anomalies.csv") if row["file_name"] == name) for name in ("01.png", "00.png")
    )
    assert bad["looks"] == "unlike"
    assert float(fine["anomaly"]) < float(bad["anomaly"])
    entries = json.loads((found / "anomalies.json").read_text())
    assert [entry["file_name"] for entry in entries] == ["00.png", "01.png"]
    assert list(entries[0]) == ["image_id", "file_name", "frame", "anomaly", "looks", "x", "y"]
    assert next(csv.reader((found / "detections.csv").open()))[-2:] == ["anomaly", "looks"]
    values = np.load(found / "maps" / "01.npy")
    assert values.shape == (64, 96)
    assert np.unravel_index(values.argmax(), values.shape) == (int(bad["y"]), int(bad["x"]))
    for name in ("00.jpg", "heatmaps/00.jpg", "01.jpg", "heatmaps/01.jpg"):
        assert cv2.imread(str(found / name)).shape == (64, 96, 3)


def test_a_kept_bank_gives_the_same_without_the_good_parts(
    learnt: Learnt, found: Path, trained: Path, tmp_path: Path
) -> None:
    bank, source = found / "bank.npz", found.parent / "source"
    assert detect(learnt.weights, source, bank, tmp_path, "--save-csv", "--save-maps", "png") == 4
    assert rows(tmp_path / "detect" / "anomalies.csv") == rows(found / "anomalies.csv")
    assert not (tmp_path / "detect" / "bank.npz").exists()
    steps, values = (
        cv2.imread(str(tmp_path / "detect/maps/01.png"), cv2.IMREAD_UNCHANGED),
        np.load(found / "maps/01.npy"),
    )
    np.testing.assert_allclose(steps / 10_000, values.clip(0, 6.5535), atol=1e-4)
    with pytest.raises(UserError, match=r"bank.npz: made with other imgsz.*make it anew"):
        look(MOAT(learnt.weights), bank, str(source), imgsz=96)
    with pytest.raises(UserError, match=r"bank.npz: made with other weights"):
        look(MOAT(trained / "weights" / "best.pt"), bank, str(source))


def test_a_bank_of_another_number_format_is_refused(
    learnt: Learnt, found: Path, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores of the same part differ by up to a hundredth then, and the threshold is where parts lie."""
    monkeypatch.setattr(precision, "cpu_computes_bfloat16", lambda: True)
    model, source = MOAT(learnt.weights), [part(101, (64, 96), (60, 20))]
    with pytest.raises(
        UserError, match=r"other precision, float32, and not bfloat16; give --amp false, or make it anew"
    ):
        look(model, found / "bank.npz", source, amp=True)
    (exact,) = look(model, found / "bank.npz", source, amp=False)
    assert exact.heatmap.anomaly.looks == "unlike"
    look(model, good, source, amp=True, save=True, project=str(tmp_path))
    with pytest.raises(UserError, match="other precision, bfloat16, and not float32; make it anew"):
        look(model, tmp_path / "predict" / "bank.npz", source, amp=False)


def test_a_bank_of_other_windows_is_refused(learnt: Learnt, found: Path) -> None:
    with pytest.raises(UserError, match=r"bank.npz: made with other window, None, and not 2"):
        look(MOAT(learnt.weights), found / "bank.npz", [part(0, (64, 64))], window=2)


def test_sixteen_bits_and_gray_are_the_same_part(learnt: Learnt, good: Path, tmp_path: Path) -> None:
    gray = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in sorted(good.iterdir())]
    deep = save(tmp_path / "deep", [(image.astype(np.uint16) * 257) for image in gray])
    source = [part(600, (64, 96), (40, 30))]
    (eight,), (sixteen,) = (look(MOAT(learnt.weights), folder, source) for folder in (good, deep))
    np.testing.assert_allclose(sixteen.heatmap.values, eight.heatmap.values, rtol=1e-3, atol=1e-3)


def test_what_a_user_may_get_wrong(learnt: Learnt, good: Path, tmp_path: Path) -> None:
    model, source = MOAT(learnt.weights), [part(0, (64, 64))]
    few = save(tmp_path / "few", [part(number, (64, 64)) for number in range(3)])
    (tmp_path / "empty").mkdir()
    for given, message in [
        ({"heatmap": True}, "--heatmap: needs --good-parts"),
        ({"good_parts": "good"}, "--good-parts good: belongs to --heatmap"),
        ({"save_maps": "png"}, "--save-maps png: belongs to --heatmap"),
        ({"heatmap": True, "good_parts": str(good), "save_maps": "jpg"}, "--save-maps jpg: must be png"),
        ({"heatmap": True, "good_parts": str(good), "save_maps": "png"}, "goes with the pictures"),
        ({"heatmap": True, "good_parts": str(good), "augment": True}, "does not go with --augment"),
        ({"heatmap": True, "good_parts": str(good), "shard": "1/2"}, "--shard 1/2: .*--heatmap"),
        ({"heatmap": True, "good_parts": str(tmp_path / "absent")}, "absent: no such folder"),
        (
            {"heatmap": True, "good_parts": str(tmp_path / "empty")},
            "--good-parts .*empty: no images in it; give an image, a folder",
        ),
        ({"heatmap": True, "good_parts": str(few)}, r"few: 3 image\(s\) of good parts; give 8 or more"),
    ]:
        with pytest.raises(UserError, match=message):
            model.predict(source, **{**QUIET, "project": str(tmp_path / "runs"), **given})
    assert not (tmp_path / "runs").exists()
    with pytest.raises(UserError, match="heatmap"):
        model.track(source, heatmap=True, good_parts=str(good))


def test_what_has_no_room_for_maps_is_refused_before_a_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--source", "parts", "--heatmap", "--good-parts", "good"]
    assert cli.run("detect", ["--weights", "best.pt", *words, "--ray", "2"]) == 2
    assert "--heatmap: with --ray" in capsys.readouterr().err
    (tmp_path / "best.onnx").touch()
    assert cli.run("detect", ["--weights", str(tmp_path / "best.onnx"), *words]) == 2
    assert "--heatmap with an exported model: heat maps look inside the model" in capsys.readouterr().err


def test_videos_are_left_out_with_a_word(
    learnt: Learnt, good: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = save(tmp_path / "source", [part(700, (64, 64))])
    writer = cv2.VideoWriter(str(source / "belt.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    writer.write(part(701, (64, 64)))
    writer.release()
    assert len(look(MOAT(learnt.weights), good, str(source))) == 1
    assert "left out with --heatmap, since they are videos: 1 .avi" in caplog.text
    with pytest.raises(UserError, match="for images, and not for videos"):
        look(MOAT(learnt.weights), good, str(source / "belt.avi"))


def test_no_heat_map_takes_the_place_of_a_picture(learnt: Learnt, good: Path, tmp_path: Path) -> None:
    save(tmp_path / "source" / "Heatmaps", [part(0, (64, 64))])
    with pytest.raises(UserError, match=r"00\.png: lies in a folder that is called as that of the heat maps"):
        look(MOAT(learnt.weights), good, str(tmp_path / "source"))


def test_results_take_the_place_of_no_good_part(learnt: Learnt, tmp_path: Path) -> None:
    good = save(tmp_path / "good", [part(number, (64, 64)) for number in range(8)])
    before = {path: path.read_bytes() for path in good.iterdir()}
    with pytest.raises(UserError, match="good holds images that are read"):
        look(MOAT(learnt.weights), good, [part(0, (64, 64))], save=True, project=tmp_path, name="good", exist_ok=True)
    assert {path: path.read_bytes() for path in good.iterdir()} == before


def test_models_of_the_engine_are_refused(good: Path) -> None:
    with pytest.raises(UserError, match="needs a detector on a backbone of ours"):
        look(MOAT("yolo11n.yaml"), good, [part(0, (64, 64))])


def test_the_memory_of_the_map_counts(learnt: Learnt, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, large = MOAT(learnt.weights), [part(800, (320, 320))]
    plain = {**QUIET, "imgsz": "native"}
    assert len(list(model.predict(large, **plain))) == 1
    needed = memory_check.predict_memory(model.predictor.model.model, (1, 3, 320, 320))
    monkeypatch.setattr(memory_check, "available_memory", lambda _: int((needed + 2**20) / memory_check.USABLE))
    assert len(list(MOAT(learnt.weights).predict(large, **plain))) == 1
    with pytest.raises(UserError, match=r"320 x 320 .*needs about"):
        look(MOAT(learnt.weights), good, large, imgsz="native")
