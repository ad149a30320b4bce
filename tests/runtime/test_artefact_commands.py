"""`moat detect` and `moat val` with an exported model: what they write, and what they refuse."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from scipy.optimize import linear_sum_assignment

from moat_det import demo
from moat_det.cli.main import run
from moat_det.memory import DoesNotFit
from moat_det.runtime import load, memory_check
from moat_det.runtime.detection_run import DetectionRun
from moat_det.runtime.digests import REPORT, digests
from moat_det.runtime.memory_check import MemoryCheck
from moat_det.runtime.metadata import Metadata

Export = Callable[..., Path]
Read = Callable[[Path], Any]


@pytest.fixture
def source(images: Path) -> Path:
    """The folder of four images."""
    return images.parent / "images" / "val"


@pytest.fixture
def artefact(exported: Export) -> Path:
    """An export for inputs of 96 x 128."""
    return exported("onnx")


@pytest.fixture
def copy(artefact: Path, tmp_path: Path) -> Path:
    """A copy of it, to spoil."""
    return shutil.copytree(artefact, tmp_path / "best_onnx")


def edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def settle(folder: Path) -> None:
    """Let the digests be those of the files as they are."""
    made = digests(file for file in folder.iterdir() if file.name != REPORT)
    edit(folder / REPORT, lambda content: content.update(sha256=made))


@pytest.fixture
def passes() -> list[int]:
    """How many images went through the model of `varying` in each pass."""
    return []


@pytest.fixture
def varying(copy: Path, passes: list[int], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that takes inputs of any size and number, whose model finds what is drawn by lot from an image's sum."""
    edit(copy / "metadata.json", lambda content: content.update(shape=None, largest=None, imgsz=128))
    settle(copy)

    def model(images: np.ndarray) -> np.ndarray:
        passes.append(len(images))
        height, width = images.shape[2:]
        points = sum((height // stride) * (width // stride) for stride in (8, 16, 32))
        found = np.empty((len(images), 4 + len(demo.NAMES), points), np.float32)
        for image, output in zip(images, found, strict=True):
            draw = np.random.default_rng(int(image.sum()))
            output[:2] = draw.uniform(0, [[width], [height]], (2, points))
            output[2:4] = draw.uniform(5, 20, (2, points))
            output[4:] = draw.uniform(0, 0.5, (len(demo.NAMES), points))
        return found

    monkeypatch.setattr(sys.modules[load.__module__], "open_backend", lambda *_: model)
    return copy


def test_an_image_that_the_file_does_not_take_is_left_out_and_named(
    varying: Path, images: Path, tmp_path: Path, log: list[str]
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    whole = cv2.imread(str(min((images.parent / "images" / "val").iterdir())))
    cv2.imwrite(str(source / "whole.png"), whole)
    cv2.imwrite(str(source / "strip.png"), whole[:10])
    assert detect(varying, source, tmp_path / "runs", "--save-json") == 0
    said = "\n".join(log)
    assert "strip.png: an input of 32 x 128 is narrower than the 64 pixels" in said
    assert "1 unreadable file(s) were skipped" in said
    assert (tmp_path / "runs" / "detect" / "whole.jpg").exists()


@pytest.mark.parametrize("command", ["detect", "val"])
def test_where_the_file_takes_no_image_at_a_size_it_says_which_would_do(
    command: str, varying: Path, source: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(varying / "metadata.json", lambda content: content.update(largest=[128, 128]))
    settle(varying)
    given = ["--source", str(source)] if command == "detect" else ["--data", str(images)]
    words = ["--weights", str(varying), *given, "--project", str(tmp_path / "runs")]
    for size, fault in (("256", "is larger than 128 x 128, up to which"), ("32", "is narrower than the 64 pixels")):
        assert run(command, [*words, "--imgsz", size]) == 2
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert ".jpg: an input of" in line or ".png: an input of" in line
        assert fault in line
    assert command == "detect" or not (tmp_path / "runs").exists()


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def detect(weights: Path, source: Path | str, project: Path, *words: str) -> int:
    return run("detect", ["--weights", str(weights), "--source", str(source), "--project", str(project), *words])


def rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.open(encoding="utf-8")))


def assert_same_numbers(ours: Any, theirs: Any, tolerance: float) -> None:
    """Compare JSON whose numbers may differ a little."""
    assert type(ours) is type(theirs)
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_same_numbers(ours[key], theirs[key], tolerance)
    elif isinstance(ours, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_same_numbers(one, other, tolerance)
    elif isinstance(ours, float):
        assert ours == pytest.approx(theirs, abs=tolerance)
    else:
        assert ours == theirs


def assert_same_rows(ours: Any, theirs: Any) -> None:
    """Find for each detection of one side its own on the other, in any order: near scores may change places."""
    ours, theirs = np.array(ours), np.array(theirs)
    assert ours.shape == theirs.shape
    apart = np.abs(ours[:, None] - theirs[None]).max(2)
    assert apart[linear_sum_assignment(apart > 0.06)].max() < 0.06


# What it writes


def drawn_pixels(table: list[dict[str, str]], picture: str) -> list[list[int]]:
    """Give the pixels that the corners of a picture's boxes lie in."""
    corners = ("x1", "y1", "x2", "y2")
    return [[int(float(row[name])) for name in corners] for row in table if Path(row["file_name"]).stem == picture]


def test_the_outputs_of_the_checkpoint(artefact: Path, checkpoint: Path, source: Path, tmp_path: Path) -> None:
    words = ["--save-txt", "--save-conf", "--save-csv", "--save-json", "--conf", "0.4", "pit=0.6"]
    assert detect(artefact, source, tmp_path / "ours", *words) == 0
    theirs = [*words, "--imgsz", "96", "128", "--amp", "false", "--device", "cpu"]
    assert detect(checkpoint, source, tmp_path / "theirs", *theirs) == 0
    ours, theirs_folder = (tmp_path / name / "detect" for name in ("ours", "theirs"))
    assert files(ours) == files(theirs_folder)
    assert len([name for name in files(ours) if name.endswith(".jpg")]) == 4
    found, expected = (json.loads((folder / "predictions.json").read_text()) for folder in (ours, theirs_folder))
    assert len(found) > 20
    assert list(found[0]) == list(expected[0])
    assert {entry["file_name"] for entry in found} == {entry["file_name"] for entry in expected}
    names = ("image_id", "category_id", "frame")
    assert_same_rows(
        *(
            [[*(entry[name] for name in names), *entry["bbox"], 100 * entry["score"]] for entry in part]
            for part in (found, expected)
        )
    )
    tables = [rows(folder / "detections.csv") for folder in (ours, theirs_folder)]
    assert list(tables[0][0]) == list(tables[1][0])
    columns = ("image_id", "frame", "class", "x1", "y1", "x2", "y2")
    assert_same_rows(*([[float(row[name]) for name in columns] for row in table] for table in tables))
    assert {(row["class"], row["name"]) for row in tables[0]} == {(row["class"], row["name"]) for row in tables[1]}
    for name in files(ours / "labels"):
        labels = [np.loadtxt(folder / "labels" / name, ndmin=2) for folder in (ours, theirs_folder)]
        assert_same_rows(*(100 * label for label in labels))
    compared = 0
    for name in [name for name in files(ours) if name.endswith(".jpg")]:
        # A line lies a pixel further where a box is 0.001 px off and ends between two.
        if len({str(drawn_pixels(table, Path(name).stem)) for table in tables}) == 1:
            picture, other_picture = (cv2.imread(str(folder / name)).astype(int) for folder in (ours, theirs_folder))
            assert np.abs(picture - other_picture).mean() < 1
            compared += 1
    assert compared >= 2


def test_the_figures_of_the_checkpoint(artefact: Path, checkpoint: Path, images: Path, tmp_path: Path) -> None:
    words = ["--data", str(images), "--conf", "0.3", "--save-txt", "--plots", "false", "--project", str(tmp_path)]
    assert run("val", ["--weights", str(artefact), *words, "--name", "ours"]) == 0
    theirs = [*words, "--imgsz", "96", "128", "--amp", "false", "--device", "cpu", "--name", "theirs"]
    assert run("val", ["--weights", str(checkpoint), *theirs]) == 0
    assert files(tmp_path / "ours") == files(tmp_path / "theirs")

    def read(name: str) -> tuple[Any, Any]:
        ours, theirs = (json.loads((tmp_path / run_ / name).read_text()) for run_ in ("ours", "theirs"))
        return ours, theirs

    assert_same_numbers(*read("ground_truth.json"), 0)
    assert_same_numbers(*read("appearance.json"), 0)
    found, expected = read("predictions.json")
    assert len(found) == len(expected) > 20
    for key in ("metrics.json", "inspection.json"):
        ours, theirs_figures = read(key)
        for content in (ours, theirs_figures):
            content.pop("speed_ms", None)
            content.pop("calibration", None)  # of a handful of detections of no model: it follows their last digits
        assert_same_numbers(ours, theirs_figures, 1e-3)
    settings, expected_settings = read("settings.json")
    assert settings["chosen_on_same_split"] is expected_settings["chosen_on_same_split"] is True
    assert settings["imgsz"] == [96, 128]
    assert settings["classes"] == json.loads((artefact / "metadata.json").read_text())["names"]


@pytest.mark.parametrize("weights", ["checkpoint", "artefact"])
def test_images_that_could_not_be_read_are_told_beside_the_figures(
    weights: str, images: Path, tmp_path: Path, log: list[str], request: pytest.FixtureRequest
) -> None:
    shutil.copytree(images.parent, tmp_path / "set")
    data = tmp_path / "set" / images.name
    data.write_text(data.read_text().replace(str(images.parent), str(data.parent)))
    broken = sorted((data.parent / "images" / "val").iterdir())[0]
    broken.write_bytes(b"no image")
    words = ["--weights", str(request.getfixturevalue(weights)), "--data", str(data), "--plots", "false"]
    assert run("val", [*words, "--project", str(tmp_path)]) == 0
    figures = next(number for number, line in enumerate(log) if "Results in" in line)
    (told,) = (number for number, line in enumerate(log) if "1 of 4 images could not be read" in line)
    assert told > figures > next(number for number, line in enumerate(log) if str(broken) in line)


def test_options_choose_what_is_found(artefact: Path, source: Path, tmp_path: Path) -> None:
    def found(name: str, *words: str) -> list[dict[str, str]]:
        assert detect(artefact, source, tmp_path, "--save-csv", "--save", "false", "--name", name, *words) == 0
        assert files(tmp_path / name) == ["detections.csv"]
        return rows(tmp_path / name / "detections.csv")

    everything = found("all", "--conf", "0.3")
    kinds = {row["class"] for row in everything}
    assert len(kinds) > 1
    kind = min(kinds)
    assert {row["class"] for row in found("classes", "--conf", "0.3", "--classes", kind)} == {kind}
    assert len(found("few", "--conf", "0.3", "--max-det", "1")) == 4
    assert len(found("loose", "--conf", "0.3", "--iou", "0.95")) > len(everything)
    name = next(row["name"] for row in everything if row["class"] == kind)
    assert kind not in {row["class"] for row in found("named", "--conf", "0.3", f"{name}=1")}


def test_the_folder_of_a_run(
    artefact: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert run("detect", ["--weights", str(artefact), "--source", str(source)]) == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["detect", "detect-2"]
    words = ["--weights", str(artefact), "--source", str(source), "--exist-ok"]
    assert run("detect", [*words, "--save", "false"]) == 0
    assert not [line for line in log if "an earlier run, which stay" in line]
    assert run("detect", words) == 0
    assert [line for line in log if f"{tmp_path / 'runs/detect'}: holds files of an earlier run" in line]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["detect", "detect-2"]


@pytest.mark.parametrize("words", [["--save-csv"], ["--save-json"]])
def test_a_folder_that_cannot_be_made_is_refused_before_any_image_is_looked_at(
    artefact: Path,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
) -> None:
    monkeypatch.setattr(DetectionRun, "__iter__", lambda _: pytest.fail("it detects"))
    (tmp_path / "afile").write_text("mine")
    given = ["--weights", str(artefact), "--source", str(source), "--project", str(tmp_path / "afile/x")]
    assert run("detect", [*given, "--save", "false", *words]) == 2
    assert "afile/x" in capsys.readouterr().err


def test_shards_have_each_image_once_and_go_on(artefact: Path, source: Path, tmp_path: Path) -> None:
    def done(shard: str) -> list[str]:
        lines = (tmp_path / f"detect-{shard.replace('/', '-of-')}" / "detections.jsonl").read_text().splitlines()
        return [json.loads(line)["file_name"] for line in lines]

    for shard in ("1/2", "2/2", "1/1"):
        assert detect(artefact, source, tmp_path, "--shard", shard) == 0
    names = sorted(path.name for path in source.iterdir())
    assert sorted([*done("1/2"), *done("2/2")]) == names == sorted(done("1/1"))
    lines = tmp_path / "detect-1-of-1" / "detections.jsonl"
    whole = lines.read_text()
    lines.write_text(whole[: whole.index("\n") + 20])  # as a process that is killed leaves it
    assert detect(artefact, source, tmp_path, "--shard", "1/1") == 0
    assert lines.read_text() == whole
    assert detect(artefact, source, tmp_path, "--shard", "1/1") == 0, "nothing is left"
    assert detect(artefact, source, tmp_path, "--shard", "1/1", "--conf", "0.9") == 2


def test_what_cannot_be_read_is_named(artefact: Path, source: Path, tmp_path: Path, log: list[str]) -> None:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    shutil.copy(next(source.iterdir()), folder / "deep" / "good.png")
    (folder / "bad.png").write_bytes(b"no image")
    (folder / "film.mp4").write_bytes(b"x" * 500)
    (folder / "notes.txt").write_text("mine")
    assert detect(artefact, folder, tmp_path / "runs", "--conf", "0.3") == 0
    assert files(tmp_path / "runs" / "detect") == ["deep/good.jpg"]
    text = "\n".join(log)
    assert f"1 unreadable file(s) were skipped, or read in part: {folder / 'bad.png'}" in text
    assert "left out, since videos need the checkpoint: 1 .mp4" in text
    assert "1 .txt" in text
    assert detect(artefact, folder / "bad.png", tmp_path / "runs") == 2


def test_batches_of_several_shapes(varying: Path, source: Path, tmp_path: Path, passes: list[int]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number, file in enumerate([*sorted(source.iterdir()), *sorted(source.iterdir())]):
        picture = cv2.imread(str(file))
        cv2.imwrite(str(folder / f"{number}.png"), picture if number < 5 else np.ascontiguousarray(picture[:40]))
    tables = []
    for batch in ("1", "4"):
        words = ("--batch", batch, "--save-csv", "--save", "false", "--conf", "0.3", "--name", batch)
        assert detect(varying, folder, tmp_path, *words) == 0
        tables.append(rows(tmp_path / batch / "detections.csv"))
    assert len(tables[0]) > 20
    assert tables[0] == tables[1]
    assert passes == [1] * 8 + [4, 1, 3]


def test_an_operating_point_holds_for_its_file(
    artefact: Path, copy: Path, images: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", str(images), "--plots", "false", "--project", str(tmp_path), "--max-overkill", "0.9"]
    assert run("val", ["--weights", str(artefact), *words, "--confidence", "0.01"]) == 0
    point = tmp_path / "val" / "operating_point.json"
    assert json.loads(point.read_text())["threshold"] is not None
    code = detect(artefact, source, tmp_path, "--operating-point", str(point), "--save-json", "--save-csv")
    verdicts = json.loads((tmp_path / "detect" / "verdicts.json").read_text())
    assert len(verdicts) == 4
    rejected = any(verdict["verdict"] == "reject" for verdict in verdicts)
    assert code == (3 if rejected else 0)
    capsys.readouterr()
    edit(copy / "metadata.json", lambda content: content.update(conf=0.3))
    settle(copy)
    other = shutil.copy(point, tmp_path / "other.json")
    edit(Path(other), lambda content: content.update(imgsz=1024))  # a size that this file does not take
    for of_other_weights in (point, other):
        assert detect(copy, source, tmp_path, "--operating-point", str(of_other_weights)) == 2
        assert "is of other weights" in line_of(capsys)
    assert detect(artefact, source, tmp_path, "--operating-point", str(point), "--max-det", "7") == 2
    assert detect(artefact, source, tmp_path, "--operating-point", str(point), "--agnostic-nms", "true") == 2
    assert detect(artefact, source, tmp_path, "--operating-point", str(point), "--iou", "0") == 2
    assert "--max-det 7: the thresholds of" in capsys.readouterr().err
    given = ["--operating-point", str(point), "--imgsz"]
    assert detect(artefact, source, tmp_path, *given, "90", "128") == code, "which is rounded up to the file's own"
    assert detect(artefact, source, tmp_path, *given, "96") == 2
    assert "takes 96 x 128 alone" in line_of(capsys)


# What it refuses


def line_of(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1
    return error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--device", "cuda"], "--device cuda: an exported model runs on the CPU"),
        (["--device", "0"], "--device 0: an exported model runs on the CPU"),
        (["--half"], "--half with an exported model: its precision is that of the file"),
        (["--augment"], "--augment with an exported model: the file holds one pass"),
        (["--window", "14"], "--window with an exported model: its attention windows are in the file"),
        (["--imgsz", "640"], "--imgsz 640: best.onnx takes 96 x 128 alone"),
        (["--imgsz", "native"], "--imgsz native: best.onnx takes 96 x 128 alone"),
        (["--imgsz", "1", "2", "3"], "--imgsz 1 2 3: give the longer side"),
        (["--max-pixels", "5000"], "--max-pixels 5000: it bounds the images' own size"),
        (["--classes", "99"], "--classes 99: there is no such class"),
        (["--conf", "2"], "--conf 2: give a score from 0 to 1"),
        (["--conf", "wheel=0.5"], "the model has no class wheel"),
        (["--iou", "7"], "--iou 7: must be from 0 to 1"),
        (["--batch", "0"], "--batch 0: must be a whole number"),
        (["--line-width", "0"], "--line-width 0: must be 1 or more"),
        (["--heatmap"], "--heatmap with an exported model: heat maps look inside the model"),
        (["--ray", "2"], "--ray with an exported model: actors of Ray need the checkpoint; processes share the"),
        (["--sourc", "x"], "unknown option --sourc: did you mean --source?"),
        (["--operating-point", "nothing.json"], "--operating-point nothing.json: there is no such file"),
    ],
)
def test_options_that_it_cannot_serve(
    words: list[str], message: str, artefact: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert detect(artefact, source, tmp_path, *words) == 2
    assert message in line_of(capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["--shard", "1/2"], ["--heatmap"], ["--good-parts", "good"], ["--ray", "2"]])
def test_a_validation_sends_nobody_to_a_checkpoint_that_takes_no_such_option(
    words: list[str], artefact: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("val", ["--weights", str(artefact), "--data", str(images), *words]) == 2
    assert line_of(capsys) == f"val: unknown option {words[0]} (see --help)"


def test_a_source_that_is_not_there(artefact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert detect(artefact, tmp_path / "nothing", tmp_path) == 2
    assert "no such folder, list of images or image" in line_of(capsys)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda folder: edit(folder / "metadata.json", lambda content: content.update(artefact=99)),
            "metadata.json is of version 99, this moat_det reads version 1",
        ),
        (lambda folder: (folder / "metadata.json").unlink(), "has no metadata.json"),
        (lambda folder: (folder / "parity.json").unlink(), "has no parity.json"),
        (
            lambda folder: edit(folder / "metadata.json", lambda content: content["names"].reverse()),
            "metadata.json is not the file that was compared with its checkpoint",
        ),
        (
            lambda folder: (folder / "best.onnx").write_bytes((folder / "best.onnx").read_bytes()[:5000]),
            "best.onnx is not the file that was compared with its checkpoint",
        ),
        (lambda folder: shutil.rmtree(folder), "no exported model at"),
    ],
    ids=["version", "no metadata", "no report", "edited", "truncated", "gone"],
)
@pytest.mark.parametrize("command", ["detect", "val"])
def test_a_spoilt_artefact(
    command: str,
    spoil: Callable[[Path], object],
    message: str,
    copy: Path,
    source: Path,
    images: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(copy)
    given = ["--source", str(source)] if command == "detect" else ["--data", str(images)]
    weights = copy if copy.exists() else copy / "best.onnx"
    assert run(command, ["--weights", str(weights), *given]) == 2
    assert message in line_of(capsys)


def test_a_file_that_the_runtime_cannot_read(copy: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As the export of another program may be: complete by its digests."""
    (copy / "best.onnx").write_bytes(b"no graph")
    settle(copy)
    assert run("detect", ["--weights", str(copy), "--source", str(source)]) == 2
    assert "best.onnx: onnxruntime cannot read it" in line_of(capsys)


def test_a_runtime_that_is_not_installed(
    artefact: Path, source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "moat_det.runtime.backends.onnx", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert run("detect", ["--weights", str(artefact), "--source", str(source)]) == 2
    line = line_of(capsys)
    assert "needs the package onnxruntime, which is not installed: pip install onnxruntime" in line
    assert "pip install 'moat_det[onnx]'" in line


def test_data_of_other_classes(
    artefact: Path, make_set: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_set({"a.png": "0 0.5 0.5 0.2 0.2\n"})
    assert run("val", ["--weights", str(artefact), "--data", str(data)]) == 2
    line = line_of(capsys)
    assert "the weights know the classes" in line
    assert "has scratch, pit, stain" in line


def test_data_of_other_bands(artefact: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data.yaml"
    content = yaml.safe_load(images.read_text())
    data.write_text(yaml.safe_dump({**content, "path": str(images.parent), "channels": 1}))
    assert run("val", ["--weights", str(artefact), "--data", str(data)]) == 2
    assert "the weights take images of 3 channels" in line_of(capsys)


def test_images_of_other_bands(
    artefact: Path, tmp_path: Path, log: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "five.npy", np.zeros((60, 60, 5), np.uint8))
    assert detect(artefact, tmp_path / "five.npy", tmp_path) == 2
    assert "'channels: 3' needs (H, W, 3)" in "\n".join(log)
    assert "none of its images can be read" in line_of(capsys)


@pytest.mark.parametrize("command", ["detect", "val"])
def test_what_does_not_fit_into_the_memory(
    command: str,
    varying: Path,
    source: Path,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    one = 1000 * 96 * 128
    edit(varying / "metadata.json", lambda content: content.update(memory=[1000.0, 0.0]))
    settle(varying)
    monkeypatch.setattr(memory_check, "free_memory", lambda: int(2.5 * one / memory_check.USABLE))
    given = ["--source", str(source)] if command == "detect" else ["--data", str(images)]
    words = ["--weights", str(varying), *given, "--project", str(tmp_path), "--imgsz", "96", "128"]
    assert run(command, [*words, "--batch", "4"]) == 2
    line = line_of(capsys)
    assert "128 x 96, 4 images at once, needs about" in line
    assert "--batch 2 or --imgsz" in line
    assert run(command, [*words, "--batch", "2"]) == 0


def test_a_large_image_needs_more_than_small_ones_of_as_many_pixels(
    artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = replace(Metadata.read(artefact), shape=None, memory=[0.0, 1.0])
    check = MemoryCheck(facts, facts.sizes("native"))
    monkeypatch.setattr(memory_check, "free_memory", lambda: 20 * (64 * 64) ** 2)
    check.check(16, (64, 64), "small.png")
    with pytest.raises(DoesNotFit, match=r"large.png: 256 x 256 needs about .*: --max-pixels .* would fit"):
        check.check(1, (256, 256), "large.png")
    monkeypatch.setattr(memory_check, "free_memory", lambda: 0)
    with pytest.raises(DoesNotFit, match=r"0 GB can be used: free some memory"):
        check.check(1, (256, 256), "large.png")


def test_at_their_own_size_what_does_not_fit_is_left_out(
    varying: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    edit(varying / "metadata.json", lambda content: content.update(memory=[0.0, 1.0]))
    settle(varying)
    cv2.imwrite(str(tmp_path / "large.png"), np.zeros((200, 200, 3), np.uint8))
    shutil.copy(next(source.iterdir()), tmp_path / "small.png")
    monkeypatch.setattr(memory_check, "free_memory", lambda: 2 * (96 * 128) ** 2)
    words = ("--imgsz", "native", "--save-csv", "--save", "false", "--name", "own")
    assert detect(varying, tmp_path, tmp_path / "runs", *words) == 0
    assert {row["file_name"] for row in rows(tmp_path / "runs/own/detections.csv")} == {"small.png"}
    assert any("large.png: 224 x 224 needs about" in line for line in log)
    assert detect(varying, tmp_path / "large.png", tmp_path / "runs", *words, "--max-pixels", "8000") == 0
    assert any("200 x 200 is scaled down to 89 x 89 by --max-pixels" in line for line in log)


def contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_results_take_the_place_of_nothing_that_is_read(
    artefact: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = shutil.copytree(images.parent, tmp_path / "set")
    before = contents(copied)
    into = ["--project", str(copied / "images"), "--name", "val", "--exist-ok", "true"]
    assert run("detect", ["--weights", str(artefact), "--source", str(copied / "images" / "val"), *into]) == 2
    assert "holds images that are read" in capsys.readouterr().err
    assert contents(copied) == before
