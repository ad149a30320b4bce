"""From a validation's operating point to the verdicts of a detection, and its exit code."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from helpers.cameras import play
from moat_det.cli import main as cli
from moat_det.data.index import open_index
from moat_det.detector.detector import Detector
from moat_det.engine import MOAT
from moat_det.engine.checkpoint import load_checkpoint, weights_digest
from moat_det.engine.sources import cameras
from moat_det.errors import UserError
from moat_det.evaluation.inspection.operating_point import OperatingPoint, read_operating_point
from moat_det.evaluation.inspection.parts import read_parts


@pytest.fixture(scope="module")
def weights(trained: Path) -> Iterator[Path]:
    """A checkpoint, whose model finds one defect in each image, the surer the brighter the image is.

    After so short a training it would find the same in all.
    """

    def predict(self: Detector, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        height, width = x.shape[2:]
        found = x.new_zeros((len(x), 8, 1), dtype=torch.float32)
        found[:, :4, 0] = torch.tensor([width / 2, height / 2, width / 4, height / 4])
        found[:, 5, 0] = x.float().mean((1, 2, 3)) / 255
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Detector, "_predict_once", predict)
        yield trained / "weights" / "best.pt"


@pytest.fixture(scope="module")
def validated(weights: Path, demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a validation that was asked for a target."""
    project = tmp_path_factory.mktemp("validated")
    cli.val(
        [
            *("--weights", str(weights), "--data", str(demo), "--project", str(project), "--debug"),
            *("--conf", "0.0001", "--max-overkill", "0.7", "--plots", "false", "--workers", "0"),
        ]
    )
    return project / "val"


@pytest.fixture(scope="module")
def scores(validated: Path) -> dict[str, float]:
    """The score of each image of the validation."""
    truth, found = (json.loads((validated / f"{name}.json").read_text()) for name in ("ground_truth", "predictions"))
    parts = read_parts(truth, found)
    return dict(zip(parts.names, parts.scores.tolist(), strict=True))


@pytest.fixture(scope="module")
def middle(scores: dict[str, float]) -> float:
    """A threshold with images on both sides, as far from their scores as can be: no rounding moves one across."""
    ordered = np.sort(list(scores.values()))
    widest = int(np.diff(ordered)[1:-1].argmax()) + 1
    return float(ordered[widest : widest + 2].mean())


@pytest.fixture
def images(demo: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo.parent / "images" / "val", tmp_path / "images"))


def write(validated: Path, file: Path, **changed: Any) -> Path:
    """Write the validation's operating point with other values."""
    base = {"threshold": None, "review": None, "per_class": {}, "nearest": None, "max_review": None}
    point: OperatingPoint = read_operating_point(validated / "operating_point.json")
    replace(point, **{**base, **changed}).write(file)
    return file


def detect(weights: Path, images: Path, point: Path, *more: str) -> int:
    """Run `moat detect` with an operating point; gives the exit code."""
    words = ["--weights", str(weights), "--source", str(images), "--operating-point", str(point)]
    return cli.run("detect", [*words, "--save", "false", "--project", str(point.parent), "--verbose", "false", *more])


def verdicts(folder: Path) -> dict[str, str]:
    with (folder / "verdicts.csv").open(newline="") as file:
        return {row["part"]: row["verdict"] for row in csv.DictReader(file)}


def test_the_validation_says_what_its_point_is_of(validated: Path, weights: Path, demo: Path) -> None:
    content = json.loads((validated / "operating_point.json").read_text())
    best = weights
    index = open_index(str(demo.parent / "images" / "val"), {0: "a", 1: "b", 2: "c", 3: "d"})
    assert content["weights"] == weights_digest(load_checkpoint(best).build())
    assert content["split"] == index.identity()["digest"]
    assert load_checkpoint(best).chosen_on == index.images_digest()
    assert content["chosen_on_same_split"] is True
    assert (content["conf"], content["imgsz"], content["parts"]) == (0.0001, 64, 12)
    settings = json.loads((validated / "settings.json").read_text())
    assert {key: content[key] for key in settings} == settings


def test_images_of_before_operating_points_were_chosen_by_is_not_known(weights: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(weights)
    replace(checkpoint, chosen_on=None).save(tmp_path / "old.pt")
    assert MOAT(tmp_path / "old.pt").trained.chosen_on is None


def test_other_images_are_another_split_and_other_labels_are_not(weights: Path, demo: Path, tmp_path: Path) -> None:
    chosen_on = load_checkpoint(weights).chosen_on
    folder = Path(shutil.copytree(demo.parent, tmp_path / "demo"))
    names = {0: "a", 1: "b", 2: "c", 3: "d"}
    (next(iter(sorted((folder / "labels" / "val").glob("*.txt"))))).write_text("0 0.5 0.5 0.1 0.1\n")
    assert open_index(str(folder / "images" / "val"), names).images_digest() == chosen_on
    next(iter((folder / "images" / "val").iterdir())).unlink()
    assert open_index(str(folder / "images" / "val"), names).images_digest() != chosen_on


def test_detection_judges_as_validation_measured(
    weights: Path, validated: Path, images: Path, scores: dict[str, float], middle: float, tmp_path: Path
) -> None:
    point = write(validated, tmp_path / "point.json", threshold=middle)
    assert detect(weights, images, point, "--save-csv", "--save-json") == 3
    found = verdicts(tmp_path / "detect")
    assert found == {name: "reject" if score >= middle else "pass" for name, score in scores.items()}
    assert set(found.values()) == {"reject", "pass"}
    parts = json.loads((tmp_path / "detect" / "verdicts.json").read_text())
    assert {part["part"]: part["verdict"] for part in parts} == found
    for entry in json.loads((tmp_path / "detect" / "predictions.json").read_text()):
        assert entry["score"] >= middle
        assert (entry["part"], entry["verdict"]) == (entry["file_name"], "reject")


def test_exit_codes(weights: Path, validated: Path, images: Path, middle: float, tmp_path: Path) -> None:
    passed = write(validated, tmp_path / "pass.json", threshold=1.0)
    review = write(validated, tmp_path / "review.json", threshold=1.0, review=middle)
    reject = write(validated, tmp_path / "reject.json", threshold=middle, review=middle / 2)
    assert [detect(weights, images, point) for point in (passed, review, reject)] == [0, 4, 3]
    (images / "broken.png").write_bytes(b"no image")
    assert [detect(weights, images, point) for point in (passed, review, reject)] == [4, 4, 3]
    assert detect(weights, images, passed, "--save-csv", "--name", "broken") == 4
    assert verdicts(tmp_path / "broken")["broken.png"] == "review"
    assert detect(weights, images / "broken.png", passed, "--save-csv", "--name", "alone") == 4
    assert verdicts(tmp_path / "alone") == {"broken.png": "review"}


def test_what_a_lost_camera_does_not_show_goes_to_review(
    weights: Path, validated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cameras, "WAIT", 0.0)
    play(monkeypatch, {"rtsp://belt": [[100, 100, 100]]})
    point = write(validated, tmp_path / "point.json", threshold=1.0)
    source: Any = "rtsp://belt"
    assert detect(weights, source, point, "--save-csv", "--stream-buffer") == 4
    assert list(verdicts(tmp_path / "detect").values()) == ["pass"] * 3 + ["review"]


def test_what_is_missing_of_a_video_goes_to_review(
    weights: Path, validated: Path, tmp_path: Path, log: list[str]
) -> None:
    belt = tmp_path / "belt.avi"
    writer = cv2.VideoWriter(str(belt), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    for shade in range(60):
        writer.write(np.full((64, 64, 3), shade, np.uint8))
    writer.release()
    point = write(validated, tmp_path / "point.json", threshold=1.0)
    assert detect(weights, belt, point, "--vid-stride", "7") == 0
    Image.new("RGB", (64, 64), (7, 7, 7)).save(tmp_path / "part.png")
    assert detect(weights, tmp_path, point, "--vid-stride", "61", "--save-csv", "--name", "short") == 4
    assert verdicts(tmp_path / "short") == {"part.png": "pass", "belt.avi": "review"}
    assert not [line for line in log if "unreadable" in line]
    content = belt.read_bytes()
    belt.write_bytes(content[: len(content) // 2])
    assert detect(weights, belt, point, "--save-csv", "--exist-ok") == 4
    found = verdicts(tmp_path / "detect")
    seen = len(found) - 1
    assert list(found.items())[-1] == (f"belt.avi #{seen + 1}", "review")
    assert list(found.values())[:-1] == ["pass"] * seen
    assert [line for line in log if f"1 unreadable file(s) were skipped, or read in part: {belt}" in line]


def test_thresholds_of_classes(
    weights: Path, validated: Path, images: Path, scores: dict[str, float], middle: float, tmp_path: Path
) -> None:
    never = dict.fromkeys(["scratch", "pit", "stain", "missing_pad"], 1.0)
    truth, found = (json.loads((validated / f"{name}.json").read_text()) for name in ("ground_truth", "predictions"))
    best = max(found, key=lambda entry: entry["score"])
    name = truth["categories"][best["category_id"] - 1]["name"]
    one = write(validated, tmp_path / "one.json", threshold=middle, per_class={**never, name: best["score"] * 0.9})
    none = write(validated, tmp_path / "none.json", threshold=middle, per_class=never)
    assert detect(weights, images, none) == 0
    assert detect(weights, images, one) == 3


def test_images_of_a_group_share_their_verdict(
    weights: Path, validated: Path, images: Path, scores: dict[str, float], middle: float, tmp_path: Path
) -> None:
    """The images are numbered: each that passes by itself is put with one that does not."""
    worst = max(scores, key=lambda name: scores[name])
    others = sorted(set(scores) - {worst})
    shutil.move(images / worst, images / "last_a.png")  # read after the others
    (images / others[0]).rename(images / "a_last.png")
    threshold = scores[worst] * 0.999
    point = write(validated, tmp_path / "point.json", threshold=threshold, group=r"(last|^\d+)")
    model = MOAT(weights)
    results = model.predict(images, operating_point=str(point))
    found = {Path(result.path).name: result.verdict for result in results}
    assert found["a_last.png"] == found["last_a.png"] == "reject"
    assert {part.part: part.images for part in model.verdicts}["last"] == 2


def test_a_part_with_a_video_passes_at_its_end(weights: Path, validated: Path, images: Path, tmp_path: Path) -> None:
    picture = cv2.imread(str(next(images.iterdir())))
    (source := tmp_path / "source").mkdir()
    cv2.imwrite(str(source / "1_a.png"), picture)
    for name in ("1_b.avi", "2_a.avi"):
        film = cv2.VideoWriter(str(source / name), cv2.VideoWriter.fourcc(*"MJPG"), 10, picture.shape[1::-1])
        for _ in range(3):
            film.write(picture)
        film.release()
    point = write(validated, tmp_path / "point.json", threshold=1.0, group=r"^(.)_")
    model = MOAT(weights)
    found = [result.verdict for result in model.predict(source, operating_point=point, batch=2, stream=True)]
    assert found == ["review"] * 7  # of either video nobody knew before its end that nothing else comes
    assert [(part.part, part.verdict, part.images) for part in model.verdicts] == [("1", "pass", 4), ("2", "pass", 3)]
    frames = model.predict(source, operating_point=point, stream=True)
    assert [next(frames).verdict for _ in range(5)] == ["review"] * 5
    assert {part.part: part.verdict for part in model.verdicts} == {"1": "pass", "2": "review"}


def test_thresholds_hold_for_scores_of_their_number_format(
    weights: Path, validated: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    point = write(validated, tmp_path / "point.json", threshold=0.5)
    found = read_operating_point(point).settings
    assert found.dtype in {"float32", "bfloat16"}  # as the machine has it
    other = "bfloat16" if found.dtype == "float32" else "float32"
    write(validated, point, threshold=0.5, settings=replace(found, dtype=other))
    assert detect(weights, images, point) == 2
    assert f"are of scores in {other}, and here they are computed in {found.dtype}" in capsys.readouterr().err
    model = MOAT(weights)
    for _ in range(2):  # it says so again
        with pytest.raises(UserError, match=r"--operating-point .*point\.json: its thresholds are of scores in"):
            model.predict(images, operating_point=str(point))
    content = json.loads(point.read_text())
    del content["dtype"]  # as a file of an earlier version
    point.write_text(json.dumps(content))
    assert detect(weights, images, point) in {0, 3}


def test_results_carry_verdicts_in_python(
    weights: Path, validated: Path, images: Path, scores: dict[str, float], middle: float, tmp_path: Path
) -> None:
    point = write(validated, tmp_path / "point.json", threshold=middle)
    model = MOAT(weights)
    for stream in (False, True):
        found = {result.part: result.verdict for result in model.predict(images, stream=stream, operating_point=point)}
        assert found == {name: "reject" if score >= middle else "pass" for name, score in scores.items()}
    (result, *_) = model.predict(images)
    assert (result.part, result.verdict, model.verdicts) == (None, None, [])


def test_a_part_of_a_list_does_not_pass_before_all_its_images_were_seen(
    weights: Path, validated: Path, images: Path, tmp_path: Path
) -> None:
    point = write(validated, tmp_path / "point.json", threshold=0.9999, group=r"\.png$")
    files = sorted(map(str, images.iterdir()))
    stream = MOAT(weights).predict(files, stream=True, operating_point=point)
    assert [result.verdict for result in stream] == ["review"] * (len(files) - 1) + ["pass"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conf": 0.5}, "--conf 0.5: the thresholds are those of"),
        ({"iou": 0.5}, r"--iou 0.5: the thresholds of .*point.json hold for 0.7"),
        ({"imgsz": 96}, r"--imgsz 96: the thresholds of .* hold for 64"),
        ({"imgsz": [64, 96]}, r"--imgsz \[64, 96\]: the thresholds of .* hold for 64"),
        ({"window": "7"}, "--window 7: the thresholds of .* hold for None"),
        ({"max_det": 5}, "--max-det 5: the thresholds of .* hold for 300"),
        ({"classes": [0]}, r"--classes \[0\]: the thresholds of .* hold for None"),
    ],
)
def test_what_the_file_decides_is_not_for_the_user(
    weights: Path, validated: Path, images: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    point = write(validated, tmp_path / "point.json", threshold=0.5)
    with pytest.raises(UserError, match=message):
        MOAT(weights).predict(images, operating_point=str(point), **options)


def test_the_same_settings_may_be_said_again(weights: Path, validated: Path, images: Path, tmp_path: Path) -> None:
    point = write(validated, tmp_path / "point.json", threshold=1.0)
    assert detect(weights, images, point, "--imgsz", "64", "--iou", "0.7") == 0


def test_a_point_of_other_weights_is_refused(weights: Path, validated: Path, images: Path, tmp_path: Path) -> None:
    point = write(validated, tmp_path / "point.json", threshold=1.0)
    model = MOAT(weights)
    next(model.model.parameters()).data.mul_(1.01)
    with pytest.raises(UserError, match=r"is of other weights \(.*best.pt\)"):
        model.predict(images, operating_point=str(point))


def test_conf_beside_a_point_is_refused_at_once(
    weights: Path, validated: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    point = write(validated, tmp_path / "point.json", threshold=1.0)
    assert detect(weights, images, point, "--conf", "0.5") == 2
    assert "--conf: the thresholds are those of --operating-point" in capsys.readouterr().err


def test_a_target_in_python_and_one_out_of_reach(weights: Path, demo: Path, tmp_path: Path, log: list[str]) -> None:
    model = MOAT(weights)
    where = {"data": str(demo), "project": str(tmp_path), "name": "val", "exist_ok": True}
    model.val(**where, max_overkill=0.7, plots=False, workers=0)
    assert json.loads((tmp_path / "val" / "operating_point.json").read_text())["threshold"] > 0
    model.val(**where, max_escape=0.001, plots=False, workers=0)
    assert json.loads((tmp_path / "val" / "operating_point.json").read_text())["threshold"] is None
    assert any("No operating point: --max-escape 0.001 is out of reach" in line for line in log)
    model.val(**where, plots=False, workers=0)
    assert not (tmp_path / "val" / "operating_point.json").exists()
    with pytest.raises(UserError, match="--per-class: with --single-cls all classes are one"):
        model.val(**where, max_escape=0.1, per_class=True, single_cls=True)
