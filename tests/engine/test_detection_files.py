"""What a detection leaves: outputs lead to their files, nothing leaves the run, a fault costs its source alone."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from helpers.cameras import play
from moat_det.cli import main as cli
from moat_det.engine import MOAT
from moat_det.engine.checkpoint import load_checkpoint
from moat_det.engine.predictor import Predictor
from moat_det.engine.result_files import VideoFile, VideoFiles
from moat_det.engine.sources import cameras
from moat_det.engine.sources.video import Video
from moat_det.errors import UserError

FEW = ("--conf", "0.0001", "--max-det", "2")


@pytest.fixture(scope="module")
def weights(trained: Path) -> Path:
    return trained / "weights" / "best.pt"


@pytest.fixture
def detect(weights: Path, tmp_path: Path) -> Callable[..., Path]:
    """Run the command; gives the folder."""

    def run(source: Path | str, *words: str, weights: Path = weights) -> Path:
        given = ["--weights", str(weights), "--source", str(source), "--project", str(tmp_path / "runs")]
        cli.detect(
            [*given, "--imgsz", "64", "--exist-ok", *(words if "--max-det" in words else (*FEW, *words)), "--debug"]
        )
        return tmp_path / "runs" / "detect"

    return run


def picture(seed: int, size: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (size, size, 3), np.uint8)


def save(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed)).save(path)
    return path


def video(path: Path, frames: int = 2) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    for seed in range(frames):
        writer.write(picture(seed))
    writer.release()
    return path


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "detections.csv").open(encoding="utf-8")))


def test_files_of_one_name_stay_apart(detect: Callable[..., Path], tmp_path: Path) -> None:
    for camera in (1, 2):
        save(tmp_path / f"in/cam{camera}/p.png", seed=camera)
    save(tmp_path / "in/cam2/p.bmp", seed=3)
    everything = ("--save-csv", "--save-json", "--save-txt", "--save-crop")
    folder = detect(tmp_path / "in/*/p.*", *everything)
    found = [entry["file_name"] for entry in json.loads((folder / "predictions.json").read_text())]
    assert found == [row["file_name"] for row in rows(folder)]
    assert list(dict.fromkeys(found)) == ["cam1/p.png", "cam2/p.bmp", "cam2/p.png"]
    assert files(folder / "labels") == ["cam1/p.txt", "cam2/p.png.txt", "cam2/p.txt"]
    written = files(folder)
    assert {"cam1/p.jpg", "cam2/p.jpg", "cam2/p.png.jpg"} <= set(written)
    crops = {name.partition("/")[2] for name in files(folder / "crops")}
    assert crops == {f"{base}-{n}.jpg" for base in ("cam1/p", "cam2/p", "cam2/p.png") for n in (1, 2)}


@pytest.mark.parametrize("folder", ["", "belt_frames"])
def test_frames_take_the_place_of_no_picture(detect: Callable[..., Path], tmp_path: Path, folder: str) -> None:
    source = save(tmp_path / "in" / folder / "belt_1.png", seed=5)
    words = ("--save-txt", "--save-crop", "--save-frames")
    run = detect(tmp_path / "in", *words)
    alone = {name: (run / name).read_bytes() for name in files(run)}
    assert [name for name in alone if name.endswith("belt_1.txt")]
    assert [name for name in alone if name.startswith("crops/")]
    shutil.rmtree(run)
    video(tmp_path / "in/belt.avi")
    detect(tmp_path / "in", *words)
    assert alone == {name: (run / name).read_bytes() for name in alone}
    assert {"belt.avi.avi", "belt.avi_frames/belt.avi_2.jpg", "labels/belt.avi_2.txt"} <= set(files(run))
    assert source.is_file()


def test_a_rerun_leaves_what_one_run_leaves(detect: Callable[..., Path], tmp_path: Path) -> None:
    save(tmp_path / "in/p.png")
    save(tmp_path / "in/p-1.png")
    words = ("--save-crop", "--save-txt")
    first = files(detect(tmp_path / "in", *words))
    assert first == files(detect(tmp_path / "in", *words))
    own = tmp_path / "runs/detect/crops/mine/keep.jpg"
    save(own)
    folder = detect(tmp_path / "in/p.png", *words, "--conf", "0.0001", "--max-det", "1")
    assert len([name for name in files(folder / "crops") if name.endswith("/p-1.jpg")]) == 1
    assert not [name for name in files(folder / "crops") if name.endswith("/p-2.jpg")]
    assert len([name for name in files(folder / "crops") if "/p-1-" in name]) == 2
    assert own.is_file()
    assert len((folder / "labels/p.txt").read_text().splitlines()) == 1


def test_no_crop_takes_the_place_of_a_picture(detect: Callable[..., Path], weights: Path, tmp_path: Path) -> None:
    source = [save(tmp_path / "in" / name) for name in ("a.png", "Crops/scratch/a-1.png")]
    message = r"a-1\.png: lies in a folder that is called as that of the crops, .* give another --source"
    with pytest.raises(UserError, match=message):
        detect(tmp_path / "in", "--save-crop")
    with pytest.raises(UserError, match=message):
        MOAT(weights).predict(source, imgsz=64, save=True, save_crop=True, project=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    assert (detect(tmp_path / "in") / "Crops/scratch/a-1.jpg").is_file()


@pytest.mark.parametrize("name", ["../../../escaped", "/absolute", "..", "", "a/b", "con", "x" * 400])
def test_names_of_classes_choose_no_place(
    detect: Callable[..., Path], weights: Path, tmp_path: Path, name: str
) -> None:
    checkpoint = load_checkpoint(weights)
    names = {label: f"{name}{label}" if name in {"a/b", "x" * 400} else name for label in checkpoint.names}
    replace(checkpoint, names=names).save(tmp_path / "stranger.pt")
    save(tmp_path / "in/p.png")
    before = set(tmp_path.parent.iterdir())
    folder = detect(tmp_path / "in", "--save-crop", weights=tmp_path / "stranger.pt")
    crops = files(folder / "crops")
    assert [len(Path(crop).parts) for crop in crops] == [2, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "runs", "stranger.pt"]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["detect"]
    assert set(tmp_path.parent.iterdir()) == before
    result = (
        MOAT(tmp_path / "stranger.pt").predict(picture(0), imgsz=64, conf=0.0001, max_det=2, verbose=False)[0].cpu()
    )
    result.save_crop(tmp_path / "own", "crop")
    assert [len(Path(crop).parts) for crop in files(tmp_path / "own")] == [2, 2]
    assert not (tmp_path / "escaped").exists()


def test_a_broken_video_is_skipped(
    detect: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / "in/good.png")
    for name in ("a.avi", "z.avi"):
        video(tmp_path / "in" / name)
    for name in ("0.mp4", "m.mp4"):
        (tmp_path / "in" / name).write_bytes(b"x" * 500)
    with caplog.at_level("INFO", logger="moat_det"):
        folder = detect(tmp_path / "in", "--save-csv", "--save-frames")
    assert "2 unreadable file(s) were skipped" in caplog.text
    seen = [(row["file_name"], row["frame"]) for row in rows(folder)[::2]]
    assert seen == [("good.png", "1"), ("a.avi", "1"), ("a.avi", "2"), ("z.avi", "1"), ("z.avi", "2")]
    assert {"good.jpg", "a_frames/a_1.jpg", "z_frames/z_2.jpg"} <= set(files(folder))


def test_a_frame_keeps_its_number_after_one_that_cannot_be_decoded(
    detect: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video(tmp_path / "v.avi", frames=4)
    read = Video.read

    def fail(self: Video) -> np.ndarray | None:
        frame = read(self)
        return read(self) if self.number == 2 else frame

    monkeypatch.setattr(Video, "read", fail)
    folder = detect(tmp_path / "v.avi", "--save-csv", "--save-json", "--save-txt")
    assert files(folder / "labels") == ["v_1.txt", "v_3.txt", "v_4.txt"]
    assert [row["frame"] for row in rows(folder)[::2]] == ["1", "3", "4"]
    assert [entry["frame"] for entry in json.loads((folder / "predictions.json").read_text())[::2]] == [1, 3, 4]


@pytest.mark.parametrize("camera", [False, True])
def test_one_frame_in_two_keeps_the_number_that_it_has_in_its_source(
    detect: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, camera: bool
) -> None:
    source = "rtsp://belt"
    if camera:
        monkeypatch.setattr(cameras, "WAIT", 0.0)
        play(monkeypatch, {source: [[10, 20, 30, 40, 50]]})
    else:
        source = str(video(tmp_path / "v.avi", frames=5))
    folder = detect(source, "--vid-stride", "2", "--stream-buffer", "--save", "false", "--save-csv", "--save-txt")
    assert [row["frame"] for row in rows(folder)[::2]] == ["2", "4"]
    assert [Path(name).stem.rpartition("_")[2] for name in files(folder / "labels")] == ["2", "4"]


def test_a_source_of_broken_videos_alone_is_refused(detect: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "m.mp4").write_bytes(b"x" * 500)
    with pytest.raises(UserError, match="none of its images can be read"):
        detect(tmp_path / "m.mp4", "--save-csv")


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="file names are Unicode there")
def test_names_that_are_not_utf_8(detect: Callable[..., Path], tmp_path: Path) -> None:
    odd = os.fsdecode(b"pr\xfcf")
    for name in (odd, "usual"):
        save(tmp_path / f"in/{name}.png")
    video(tmp_path / "in/v.avi").rename(tmp_path / f"in/{odd}.avi")
    folder = detect(tmp_path / "in", "--save-csv", "--save-json", "--save-txt", "--save-crop")
    assert {"usual.png", "pr\\udcfcf.png"} <= {row["file_name"] for row in rows(folder)}
    found = {entry["file_name"] for entry in json.loads((folder / "predictions.json").read_text())}
    assert {"usual.png", f"{odd}.png"} <= found
    assert {f"{odd}.jpg", f"{odd}.avi.avi", f"labels/{odd}.txt"} <= set(files(folder))
    assert sum(row["file_name"] == "pr\\udcfcf.avi" for row in rows(folder)) == 4


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_what_was_found_before_a_stop_is_written(
    detect: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]
) -> None:
    for number in range(4):
        save(tmp_path / f"in/{number}.png")
    preprocess = Predictor.preprocess

    def stopping(self: Predictor, im: Any) -> Any:
        if self.batch[0][0].endswith("2.png"):
            raise stop
        return preprocess(self, im)

    monkeypatch.setattr(Predictor, "preprocess", stopping)
    with pytest.raises((stop, SystemExit)):  # 130 where the user stopped it
        detect(tmp_path / "in", "--save-csv", "--save-json")
    folder = tmp_path / "runs/detect"
    assert [row["file_name"] for row in rows(folder)[::2]] == ["0.png", "1.png"]
    assert len(json.loads((folder / "predictions.json").read_text())) == 4


def test_a_class_of_its_own_threshold(weights: Path, tmp_path: Path) -> None:
    model = MOAT(weights)
    image = picture(0)
    words: dict[str, Any] = {"imgsz": 64, "max_det": 30_000, "verbose": False, "project": tmp_path}
    (plain,) = model.predict(image, conf=0.0001, **words)
    for label, name in model.names.items():
        (found,) = model.predict(image, conf=[0.0001, {name: 0.999}], **words)
        assert found.boxes.data.tolist() == plain.boxes.data[plain.boxes.cls != label].tolist()
    (again,) = model.predict(image, conf=0.0001, **words)
    assert again.boxes.data.tolist() == plain.boxes.data.tolist()
    with pytest.raises(UserError, match="no class wheel"):
        model.predict(image, conf={"wheel": 0.5}, **words)


# Lists and generators


def test_lists_and_generators_are_read_a_batch_at_a_time(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [save(tmp_path / f"in/{number}.png", seed=number) for number in range(7)]
    arrays = [picture(number) for number in range(7)]
    model = MOAT(weights)
    batches: list[int] = []
    preprocess = Predictor.preprocess
    monkeypatch.setattr(Predictor, "preprocess", lambda self, im: (batches.append(len(im)), preprocess(self, im))[1])
    words: dict[str, Any] = {"imgsz": 64, "conf": 0.0001, "max_det": 3, "verbose": False, "project": tmp_path / "runs"}
    expected = [result.boxes.data.tolist() for result in model.predict(tmp_path / "in", batch=3, **words)]
    pulled: list[int] = []

    def generate() -> Iterator[np.ndarray]:
        for number, array in enumerate(arrays):
            pulled.append(number)
            yield array[..., ::-1]

    for source in (paths, tuple(map(str, paths)), [Image.open(path) for path in paths], iter(paths), generate()):
        batches.clear()
        results = model.predict(source, batch=3, stream=True, **words)
        first = next(iter(results))
        assert batches == [3]
        found = [first, *results]
        assert batches == [3, 3, 1]
        assert [result.boxes.data.tolist() for result in found] == expected
    assert pulled == list(range(7))
    results = model.predict(generate(), batch=3, stream=True, **words)
    next(iter(results))
    assert pulled[7:] == [0, 1, 2]


def test_a_broken_file_of_a_list_is_left_out(weights: Path, tmp_path: Path, log: list[str]) -> None:
    paths = [save(tmp_path / f"{number}.png") for number in range(3)]
    paths[1].write_bytes(b"no image")
    model = MOAT(weights)
    words: dict[str, Any] = {"imgsz": 64, "verbose": False, "project": tmp_path / "runs"}
    found = model.predict(paths, batch=2, **words)
    assert [result.path for result in found] == [str(paths[0]), str(paths[2])]
    assert model.predictor.unreadable == [paths[1]]
    assert any(f"{paths[1]}: it cannot be decoded" in line for line in log)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], "the list is empty"),
        (iter(()), "there is no image in it"),
        ([3], "image 1 of the source: int is no path"),
    ],
)
def test_lists_without_images(weights: Path, tmp_path: Path, source: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        MOAT(weights).predict(source, imgsz=64, verbose=False, project=tmp_path)


def test_outputs_of_a_list_go_by_path(weights: Path, tmp_path: Path) -> None:
    paths = [save(tmp_path / f"in/cam{camera}/p.png") for camera in (1, 2)]
    words: dict[str, Any] = {"imgsz": 64, "verbose": False, "save": True, "exist_ok": True}
    for number, source in enumerate((paths, [*paths, picture(0)])):
        MOAT(weights).predict(source, project=tmp_path / str(number), **words)
    assert files(tmp_path / "0/predict") == ["cam1/p.jpg", "cam2/p.jpg"]
    assert files(tmp_path / "1/predict") == ["cam1/p.jpg", "cam2/p.jpg", "image2.jpg"]


def test_a_video_has_its_name_when_it_is_whole(weights: Path, tmp_path: Path) -> None:
    source, folder = video(tmp_path / "v.avi", frames=3), tmp_path / "runs" / "predict"
    model = MOAT(weights)
    options = {"project": str(folder.parent), "name": "predict", "exist_ok": True, "save": True, "verbose": False}
    stream = model.predict(str(source), stream=True, **options)
    for _ in range(2):
        next(stream)
        assert not (folder / "v.avi").exists()
    stream.close()  # nobody wants the rest
    assert [path.name for path in folder.iterdir()] == ["v.avi"]
    assert frames(folder / "v.avi") == 2
    list(model.predict(str(source), stream=True, **options))
    assert [path.name for path in folder.iterdir()] == ["v.avi"]
    assert frames(folder / "v.avi") == 3


def test_a_video_has_its_name_when_the_next_begins(weights: Path, tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / "in").mkdir(exist_ok=True)
        video(tmp_path / f"in/{name}.avi")
    stream = MOAT(weights).predict(
        str(tmp_path / "in"), stream=True, save=True, verbose=False, project=str(tmp_path / "runs")
    )
    folder = tmp_path / "runs/predict"
    for expected in ([], [], ["a.avi"], ["a.avi"], ["a.avi", "b.avi"]):
        next(stream)
        assert sorted(path.name for path in folder.glob("[!.]*.avi")) == expected
    list(stream)
    assert [frames(folder / f"{name}.avi") for name in "abc"] == [2, 2, 2]


def test_a_video_that_cannot_be_closed_keeps_no_other_from_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, readable = VideoFiles(), VideoFile._readable_frames
    for name in ("first", "second", "third"):
        writing.write(tmp_path / name, 10, picture(0), alone=False)
    monkeypatch.setattr(
        VideoFile, "_readable_frames", lambda self: 0 if "second" in self._file.name else readable(self)
    )
    with pytest.raises(OSError, match="not all frames could be written"):
        writing.close()
    assert files(tmp_path) == ["first.avi", "third.avi"]


def frames(path: Path) -> int:
    return int(cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT))


def test_a_video_that_is_not_whole_gets_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full: OpenCV drops the frames and does not say so."""
    (tmp_path / "v.avi").write_bytes(b"the old one")
    writing = VideoFile(tmp_path / "v", 25, picture(0))
    writing.write(picture(0))
    monkeypatch.setattr(writing, "_readable_frames", lambda: 0)
    with pytest.raises(OSError, match="not all frames could be written"):
        writing.close()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"the old one"]
