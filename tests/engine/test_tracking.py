"""A defect that passes on a belt counts once: by detections that are known, and through the command."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from helpers.belt import Belt, draw_belt, pictures, write_frames, write_video
from helpers.cameras import play
from moat_det.cli.main import run
from moat_det.data.images.intensity import Intensity
from moat_det.demo.part import NAMES
from moat_det.detection.output_names import OutputNames
from moat_det.engine import MOAT
from moat_det.engine.predictor import Predictor
from moat_det.engine.results import Results
from moat_det.engine.sources import cameras
from moat_det.engine.sources.files import ImageFiles
from moat_det.engine.sources.frames import frames_in_order
from moat_det.engine.sources.video import Video
from moat_det.engine.tracking.options import Tracking
from moat_det.engine.tracking.steps import Steps
from moat_det.engine.tracking.tracks import Track, Tracks
from moat_det.errors import UserError

pytest.importorskip("lap")

BLANK = np.full((96, 96, 3), 128, np.uint8)


def tracks(conf: float | tuple[float, ...] = 0.25, stride: int = 1, **options: Any) -> Tracks:
    scores = conf if isinstance(conf, tuple) else (conf,) * len(NAMES)
    return Tracks(replace(Tracking.take(options), conf=scores), stride)


def show(found: Tracks, *boxes: tuple[float, ...], image: np.ndarray = BLANK, source: str = "belt") -> list[int]:
    """Show the detections of a frame, x1 y1 x2 y2 score class; gives the numbers of those that are of a defect."""
    data = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 6)
    result = Results(image, f"{source}.avi", dict(enumerate(NAMES)), boxes=data)
    found.follow(result, source, f"{source}.avi")
    return [int(number) for number in result.boxes.id]


def detections(belt: Belt, index: int, score: float = 0.6) -> list[tuple[float, ...]]:
    boxes, which = belt.seen(index)
    return [(*box, score, float(belt.classes[row])) for box, row in zip(boxes.tolist(), which, strict=True)]


def pass_by(found: Tracks, belt: Belt, source: str = "belt") -> None:
    for index in range(len(belt)):
        show(found, *detections(belt, index), image=belt.frame(index), source=source)


def truth(belt: Belt) -> list[tuple[int, int, int]]:
    """The class, and the first and the last frame, of each defect."""
    seen: dict[int, list[int]] = {}
    for index in range(len(belt)):
        for row in belt.seen(index)[1]:
            seen.setdefault(int(row), []).append(index + 1)
    return sorted((int(belt.classes[row]), frames[0], frames[-1]) for row, frames in seen.items())


def described(found: Tracks) -> list[tuple[int, int, int]]:
    return sorted((track.label, track.first, track.last) for track in found.tracks)


@pytest.mark.parametrize("tracker", ["bytetrack", "botsort"])
@pytest.mark.parametrize(("step", "motion"), [(3, None), (24, [-24, 0])])
def test_each_defect_of_a_belt_counts_once(tracker: str, step: int, motion: list[float] | None) -> None:
    belt, found = draw_belt(step=step), tracks(tracker=tracker, motion=motion)
    pass_by(found, belt)
    assert described(found) == truth(belt)
    assert found.counts().total() == len(belt.boxes)


def test_a_belt_that_moves_too_far_is_not_followed_unless_the_motion_is_known() -> None:
    belt, found = draw_belt(step=24), tracks()
    pass_by(found, belt)
    assert len(found.tracks) > 2 * len(belt.boxes)


def test_the_motion_is_that_of_a_frame_of_the_source() -> None:
    belt, found = draw_belt(step=24), tracks(motion=[-12, 0], stride=2)
    pass_by(found, belt)
    assert described(found) == sorted((label, 2 * first, 2 * last) for label, first, last in truth(belt))


def test_a_track_that_is_lost_for_some_frames_keeps_its_number() -> None:
    found = tracks()
    for frame in range(20):
        seen = () if 8 <= frame < 13 else ((4 + 3.0 * frame, 20, 24 + 3.0 * frame, 40, 0.6, 1),)
        assert show(found, *seen) == [1] * len(seen)
    (track,) = found.tracks
    assert (track.first, track.last, track.frames) == (1, 20, 15)


@pytest.mark.parametrize("tracker", ["bytetrack", "botsort"])
def test_a_frame_that_nobody_saw_counts_and_the_belt_moves_on(tracker: str) -> None:
    found = tracks(motion=[60, 0], tracker=tracker)
    for frame in range(6):
        if frame == 3:
            found.skip("belt")
        else:
            show(found, (10 + 60.0 * frame, 10, 50 + 60.0 * frame, 50, 0.9, 0), image=np.zeros((96, 400, 3), np.uint8))
    (track,) = found.tracks
    assert (track.first, track.last, track.frames) == (1, 6, 5)
    assert found.frames == {"belt": 6}


def test_after_a_loss_of_unknown_length_all_are_others() -> None:
    found = tracks()
    for frame in range(6):
        if frame == 3:
            found.lose("belt")
        assert show(found, (20, 20, 40, 40, 0.6, 1)) == [1 + (frame >= 3)]
    assert [(track.first, track.last) for track in found.tracks] == [(1, 3), (4, 6)]


def test_one_that_is_away_too_long_is_another() -> None:
    found = tracks()
    for frame in range(60):
        show(found, *([(20, 20, 40, 40, 0.6, 1)] if frame in {0, 1, 50, 51} else []))
    assert [track.first for track in found.tracks] == [1, 51]


def test_one_that_is_missed_in_its_second_frame_is_not_lost() -> None:
    found = tracks()
    for frame in range(4):
        show(found, *([] if frame == 2 else [(20, 20, 40, 40, 0.6, 1)]))
    assert found.counts() == {1: 1}


def test_two_that_cross_stay_two() -> None:
    found = tracks()
    for frame in range(30):
        to_the_right = (4 + 2.0 * frame, 30, 28 + 2.0 * frame, 54, 0.6, 1)
        to_the_left = (68 - 2.0 * frame, 38, 92 - 2.0 * frame, 62, 0.6, 2)
        # In the order in which a suppression gives them, which changes with the scores.
        numbers = show(found, *sorted((to_the_right, to_the_left), key=lambda box: (frame * 7 % 3, box)))
        assert sorted(numbers) == [1, 2]
    ends = {track.label: track for track in found.tracks}
    assert {label: (track.first, track.last, track.frames) for label, track in ends.items()} == {
        1: (1, 30, 30),
        2: (1, 30, 30),
    }
    assert all(len(track.votes) == 1 for track in found.tracks)


def test_a_weak_detection_goes_on_with_a_track_and_begins_none() -> None:
    found = tracks(conf=(0.5, 0.25, 0.25, 0.25))
    place, other = (20, 20, 40, 40), (60, 60, 80, 80)
    assert show(found, (*place, 0.6, 0), (*other, 0.3, 0)) == [1]
    assert show(found, (*place, 0.2, 0), (*other, 0.3, 0)) == [1]
    assert show(found, (*place, 0.3, 0), (*other, 0.3, 1)) == [1, 2]


def test_the_class_of_a_track_is_what_most_of_its_scores_say() -> None:
    found = tracks()
    for score, label in ((0.9, 2), (0.5, 1), (0.6, 1)):
        show(found, (20, 20, 40, 40, score, label))
    (track,) = found.tracks
    assert (track.label, track.frame, track.box) == (1, 1, (20, 20, 40, 40))
    assert track.score == pytest.approx(0.9)


def test_what_was_found_in_one_frame_has_a_number_and_does_not_count() -> None:
    for least, counted in ((2, 1), (1, 2), (4, 0)):
        found = tracks(min_frames=least)
        for frame in range(3):
            flicker = [(70, 70, 80, 80, 0.6, 1)] if frame == 1 else []
            show(found, (20, 20, 40, 40, 0.6, 1), *flicker)
        assert [track.number for track in found.tracks] == [1, 2]
        assert found.counts().total() == counted


def test_each_source_has_a_tracker_of_its_own() -> None:
    found = tracks()
    for source in "aabb":
        show(found, (20, 20, 40, 40, 0.6, 1), source=source)
    assert [(track.number, track.source, track.first, track.last) for track in found.tracks] == [
        (1, "a", 1, 2),
        (2, "b", 1, 2),
    ]
    assert found.frames == {"a": 2, "b": 2}


def test_frames_come_in_the_order_of_their_numbers() -> None:
    files = [f"/{folder}/f{number}.png" for folder in ("b10", "b9") for number in (10, 1, 9, 2)]
    expected = [f"/{folder}/f{number}.png" for folder in ("b9", "b10") for number in (1, 2, 9, 10)]
    assert frames_in_order(files, 1) == expected
    assert frames_in_order(files, 2) == [expected[place] for place in (1, 3, 5, 7)]


def test_folders_of_one_number_are_two_sequences() -> None:
    files = [f"/{folder}/f{number}.png" for folder in ("lot1", "lot01") for number in range(4)]
    expected = [f"/{folder}/f{number}.png" for folder in ("lot01", "lot1") for number in (1, 3)]
    assert frames_in_order(files, 2) == expected


def test_folders_of_fewer_frames_than_the_stride_are_named(tmp_path: Path, log: list[str]) -> None:
    for folder, frames in (("long", 5), ("short", 3)):
        (tmp_path / folder).mkdir()
        for number in range(frames):
            cv2.imwrite(str(tmp_path / folder / f"f{number}.png"), BLANK)
    assert ImageFiles(str(tmp_path), Intensity(), 3, 1, 5, frames=True).files == [str(tmp_path / "long/f4.png")]
    (line,) = log
    assert f"--vid-stride 5: no picture is looked at of folders that hold fewer: {tmp_path / 'short'} (3); " in line
    with pytest.raises(UserError, match=r"--vid-stride 6: is larger than the number of pictures in any folder of "):
        ImageFiles(str(tmp_path), Intensity(), 3, 1, 6, frames=True)
    log.clear()
    assert len(ImageFiles(str(tmp_path), Intensity(), 3, 1, 6).files) == 8  # of a detection, which has no frames
    assert not log


def test_what_cannot_be_read_at_the_end_counts(tmp_path: Path) -> None:
    found = tracks()
    steps = Steps(found, OutputNames(str(tmp_path)))
    pictures = [str(tmp_path / f"{folder}/f{number}.png") for folder in ("a", "b") for number in range(1, 11)]
    for path in pictures[:7]:
        if "f4" not in path:
            steps.of_folder(Results(BLANK, path, {0: "pit"}, boxes=torch.zeros(0, 6)), pictures)
    video = str(tmp_path / "belt.avi")
    for number in (1, 3):
        steps.of_video(Results(BLANK, video, {0: "pit"}, boxes=torch.zeros(0, 6)), number)
    steps.end(pictures, {video: 5, str(tmp_path / "broken.avi"): 0})
    assert found.frames == {"a": 10, "b": 10, "belt.avi": 5}


@pytest.fixture(scope="module")
def belt() -> Belt:
    return draw_belt(seed=2, length=200, step=4)


@pytest.fixture
def seeing(belt: Belt, monkeypatch: pytest.MonkeyPatch) -> None:
    """The predictor detects what is really in a frame of the belt, whatever the model says."""
    frames = np.stack([*pictures(belt)]).astype(np.int16)

    def known(self: Predictor, preds: Any, img: torch.Tensor, orig_imgs: list[np.ndarray]) -> list[Results]:
        self._seen.see(self.batch[0], of_video=self.dataset.mode == "video")
        shown = [int(np.abs(frames - image).mean((1, 2, 3)).argmin()) for image in orig_imgs]
        found = [torch.tensor(detections(belt, index)).reshape(-1, 6) for index in shown]
        return self.construct_results(found, img, orig_imgs)

    monkeypatch.setattr(Predictor, "postprocess", known)


def track(trained: Path, source: Path | str, out: Path, *words: str) -> dict[str, Any]:
    """Run the command; gives what tracks.json holds."""
    given = ["--weights", str(trained / "weights/best.pt"), "--source", str(source), "--project", str(out)]
    assert run("track", [*given, "--imgsz", "96", "--verbose", "false", *words, "--debug"]) == 0
    return json.loads((out / "track/tracks.json").read_text())


def frames_of(entries: list[dict[str, Any]]) -> list[tuple[int, int, int]]:
    return sorted((entry["class"], entry["first"], entry["last"]) for entry in entries)


def assert_frames_agree(folder: Path, found: dict[str, Any]) -> None:
    """The frames of each track are those of its detections, also in the names of labels."""
    rows = list(csv.DictReader((folder / "detections.csv").open()))
    for entry in found["tracks"]:
        frames = [int(row["frame"]) for row in rows if int(row["track"]) == entry["track"]]
        assert (min(frames), max(frames), len(set(frames))) == (entry["first"], entry["last"], entry["frames"])
    numbers = {file.stem.rpartition("_")[2] for file in (folder / "labels").glob("belt_*.txt")}
    assert numbers <= {row["frame"] for row in rows}


@pytest.mark.usefixtures("seeing")
def test_a_video_and_the_same_frames_as_pictures(belt: Belt, trained: Path, tmp_path: Path, log: list[str]) -> None:
    write_frames(belt, tmp_path / "in/frames")
    write_video(belt, tmp_path / "in/belt.avi")
    found = track(trained, tmp_path / "in", tmp_path / "out", "--save-csv", "--save-json", "--batch", "4")
    folder = tmp_path / "out/track"
    assert [(each["source"], each["frames"]) for each in found["sources"]] == [
        ("frames", len(belt)),
        ("belt.avi", len(belt)),
    ]
    for each in found["sources"]:
        assert frames_of([entry for entry in found["tracks"] if entry["source"] == each["source"]]) == truth(belt)
        assert sum(each["counts"].values()) == len(truth(belt))
    assert sum(found["counts"].values()) == 2 * len(truth(belt))
    rows = list(csv.DictReader((folder / "tracks.csv").open()))
    assert [int(row["track"]) for row in rows] == [entry["track"] for entry in found["tracks"]]
    best = found["tracks"][0]
    assert best["file"] == f"frames/f{best['frame']}.png"
    # Each detection has the number of its defect, in both files.
    numbers = [int(row["track"]) for row in csv.DictReader((folder / "detections.csv").open())]
    assert numbers == [entry["track"] for entry in json.loads((folder / "predictions.json").read_text())]
    assert {number: numbers.count(number) for number in numbers} == {e["track"]: e["frames"] for e in found["tracks"]}
    assert cv2.VideoCapture(str(next(folder.glob("belt.*")))).get(cv2.CAP_PROP_FRAME_COUNT) == len(belt)
    assert f"{2 * len(truth(belt))} defects" in "\n".join(log)


@pytest.mark.usefixtures("seeing")
@pytest.mark.parametrize("batch", ["1", "4"])
def test_a_picture_that_cannot_be_read_is_a_frame(belt: Belt, trained: Path, tmp_path: Path, batch: str) -> None:
    (tmp_path / "in").mkdir()
    shown = range(0, len(belt), 5)
    for number, index in enumerate(shown, start=1):
        cv2.imwrite(str(tmp_path / f"in/f{number}.png"), belt.frame(index))
    words = ("--motion", "-20", "0", "--save", "false", "--batch", batch)
    whole = track(trained, tmp_path / "in", tmp_path / "whole", *words)
    (tmp_path / "in/f3.png").write_bytes(b"no picture")
    for name in (f"f{len(shown) + 1}.png", "unreadable/f1.png", "unreadable/f2.png", "broken.avi"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"no picture")
    found = track(trained, tmp_path / "in", tmp_path / "broken", *words, "--save-csv")
    sources = [(each["source"], each["frames"], sum(each["counts"].values())) for each in found["sources"]]
    assert sources == [("", len(shown) + 1, 2), ("unreadable", 2, 0)]
    assert frames_of(found["tracks"]) == frames_of(whole["tracks"])
    assert_frames_agree(tmp_path / "broken/track", found)
    rows = csv.DictReader((tmp_path / "broken/track/detections.csv").open())
    assert all(row["file_name"] == f"f{row['frame']}.png" for row in rows)


@pytest.mark.usefixtures("seeing")
def test_a_frame_of_a_video_that_cannot_be_decoded_is_a_frame(
    belt: Belt, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(belt, tmp_path / "belt.avi")
    read = Video.read

    def fail(self: Video) -> np.ndarray | None:
        frame = read(self)
        return read(self) if self.number == 6 else frame

    monkeypatch.setattr(Video, "read", fail)
    found = track(trained, tmp_path / "belt.avi", tmp_path, "--save", "false", "--save-csv", "--save-txt")
    assert frames_of(found["tracks"]) == truth(belt)
    assert found["sources"][0]["frames"] == len(belt)
    assert_frames_agree(tmp_path / "track", found)


@pytest.mark.usefixtures("seeing")
def test_a_video_whose_cut_end_is_known_before_its_last_frames_keeps_its_tracks(
    belt: Belt, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(belt, tmp_path / "belt.avi")
    read = ImageFiles.__next__

    def ahead(self: ImageFiles) -> Any:
        batch = read(self)
        self.unseen.append(batch[0][0])
        return batch

    monkeypatch.setattr(ImageFiles, "__next__", ahead)
    found = track(trained, tmp_path / "belt.avi", tmp_path, "--save", "false")
    assert frames_of(found["tracks"]) == truth(belt)


@pytest.mark.usefixtures("seeing")
def test_one_frame_in_two(belt: Belt, trained: Path, tmp_path: Path) -> None:
    write_frames(belt, tmp_path / "in/frames")
    write_video(belt, tmp_path / "in/belt.avi")
    words = ("--vid-stride", "2", "--motion", "-4", "0", "--save", "false", "--save-csv", "--save-txt")
    found = track(trained, tmp_path / "in", tmp_path / "out", *words)
    seen = [(label, first + first % 2, last - last % 2) for label, first, last in truth(belt)]
    for source in ("frames", "belt.avi"):
        assert frames_of([entry for entry in found["tracks"] if entry["source"] == source]) == sorted(seen)
    assert_frames_agree(tmp_path / "out/track", found)


def test_frames_of_a_camera_are_counted_as_they_are_named(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cameras, "WAIT", 0.0)
    play(monkeypatch, {"rtsp://belt": [[1, 2, 3, 4, 5]]})
    followed: list[int] = []
    follow = Tracks.follow

    def noting(self: Tracks, result: Results, source: str, file: str) -> None:
        named = result.frame
        follow(self, result, source, file)
        followed.extend((named, result.frame, int(result.orig_img.mean())))

    monkeypatch.setattr(Tracks, "follow", noting)
    words = ("--vid-stride", "2", "--stream-buffer", "--save", "false")
    assert track(trained, "rtsp://belt", tmp_path, *words)["sources"][0]["frames"] == 2
    assert followed == [2, 2, 2, 4, 4, 4]


@pytest.mark.usefixtures("seeing")
def test_what_was_found_until_it_was_stopped_is_written(
    belt: Belt, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(belt, tmp_path / "belt.avi")
    follow = Tracks.follow

    def stopping(self: Tracks, result: Results, source: str, file: str) -> None:
        follow(self, result, source, file)
        if self.frames[source] == 9:
            raise KeyboardInterrupt

    monkeypatch.setattr(Tracks, "follow", stopping)
    given = ["--weights", str(trained / "weights/best.pt"), "--source", str(tmp_path / "belt.avi")]
    words = [*given, "--project", str(tmp_path), "--imgsz", "96", "--verbose", "false", "--save-csv"]
    assert run("track", words) == 130
    found = json.loads((tmp_path / "track/tracks.json").read_text())
    assert found["sources"][0]["frames"] == 9
    assert frames_of(found["tracks"]) == sorted(
        (label, first, min(last, 9)) for label, first, last in truth(belt) if first <= 9
    )
    assert (tmp_path / "track/detections.csv").read_text()


@pytest.mark.usefixtures("seeing")
def test_from_python_frames_may_come_one_by_one(belt: Belt, trained: Path) -> None:
    model = MOAT(trained / "weights/best.pt")
    for result in model.track(pictures(belt), stream=True, imgsz=96, conf={"scratch": 0.3}, verbose=False):
        assert len(result.boxes) == 0 or result.boxes.is_track
    assert model.tracks is not None
    assert described(model.tracks) == truth(belt)
    assert isinstance(model.tracks.tracks[0], Track)
    model.predict(belt.frame(0), imgsz=96, verbose=False)
    assert model.tracks is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("tracker_type: deepsort", "'tracker_type: 'deepsort''; write bytetrack or botsort"),
        ("track_buffer: 30", "lacks 'tracker_type'; write bytetrack or botsort"),
        ("tracker_type: bytetrack\ntrack_buffer: -1", "write a whole number of frames, 0 or more"),
        ("tracker_type: bytetrack\nmatch_thresh: 2", "write a number from 0 to 1"),
        ("tracker_type: botsort\ngmc_method: flow", "write one of sparseOptFlow, "),
        ("tracker_type: botsort\nnew_track_thresh: 0.2", "the score that begins a track is --conf"),
        ("- bytetrack", "must hold keys"),
    ],
)
def test_a_tracker_of_the_users_own(content: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    with pytest.raises(UserError, match=r"mine\.yaml") as refused:
        Tracking.take({"tracker": str(file)})
    assert message in str(refused.value)
    file.write_text("tracker_type: bytetrack\ntrack_buffer: 5")
    assert Tracking.take({"tracker": str(file)}).tracker.track_buffer == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tracker": "bytetrak"}, "did you mean 'bytetrack'?"),
        ({"tracker": "none.yaml"}, "no such file"),
        ({"motion": [3]}, "--motion 3: give pixels to the right, and down"),
        ({"motion": [3, float("nan")]}, "give pixels"),
        ({"min_frames": 0}, "--min-frames 0: must be a whole number"),
    ],
)
def test_options_that_are_not_in_order(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        Tracking.take(options)
    assert message in str(refused.value)
