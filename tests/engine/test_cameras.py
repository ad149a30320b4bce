"""A camera that is lost shows nothing: no black frame in its place."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from helpers.cameras import play
from moat_det.data.images.depth import intensity_of_run
from moat_det.data.images.intensity import Intensity
from moat_det.engine.sources import cameras, video
from moat_det.engine.sources.open import open_source
from moat_det.errors import UserError


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cameras, "WAIT", 0.2)
    monkeypatch.setattr(cameras, "_RETRY", 0.01)


def shades(source: Any) -> dict[str, list[int]]:
    """What each camera shows until all have ended."""
    seen: dict[str, list[int]] = {}
    for names, images, _ in source:
        for name, image in zip(names, images, strict=True):
            seen.setdefault(name, []).append(int(image.mean()))
    return seen


def test_a_camera_that_comes_back_goes_on(monkeypatch: pytest.MonkeyPatch, log: list[str]) -> None:
    play(monkeypatch, {"rtsp://belt": [[1, 2, 3], [], [4, 5]]})
    source = open_source("rtsp://belt", Intensity(), 3, buffer=True)
    assert shades(source) == {"rtsp___belt": [1, 2, 3, 4, 5]}
    assert source.unseen == ["rtsp___belt"] * 2
    said = [line for line in log if "gives no images any more" in line]
    assert len(said) == 2  # one for each loss: amid the film, and at its end
    assert "rtsp___belt" in said[0]
    assert [line for line in log if "did not come back, so the run ends" in line]


def test_one_that_is_lost_keeps_no_other_waiting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: list[str]
) -> None:
    (tmp_path / "two.streams").write_text("rtsp://left\nrtsp://right\n")
    play(monkeypatch, {"rtsp://left": [[1, 2], []], "rtsp://right": [[7] * 9]})
    seen = shades(open_source(str(tmp_path / "two.streams"), Intensity(), 3, buffer=True))
    assert seen["rtsp___left"] == [1, 2]
    assert len(seen["rtsp___right"]) > 2
    assert set(seen["rtsp___right"]) == {7}


@pytest.mark.parametrize("buffer", [False, True])
def test_files_side_by_side_are_seen_to_their_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: list[str], buffer: bool
) -> None:
    films = {"a.avi": list(range(5)), "b.avi": list(range(40)), "c.avi": [7]}
    (tmp_path / "three.streams").write_text("\n".join(films))
    play(monkeypatch, {name: [film] for name, film in films.items()})
    source = open_source(str(tmp_path / "three.streams"), Intensity(), 3, buffer=buffer)
    assert shades(source) == films
    assert not source.unseen
    assert not log


def test_what_others_had_not_shown_when_the_run_ended_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: list[str]
) -> None:
    (tmp_path / "two.streams").write_text("file.avi\nrtsp://belt\nshort.avi")
    play(monkeypatch, {"file.avi": [list(range(60))], "rtsp://belt": [[9]], "short.avi": [[1, 2]]})
    source = open_source(str(tmp_path / "two.streams"), Intensity(), 3, buffer=True)
    seen = next(iter(source))[0]
    source.threads[1].join()  # it did not come back
    for names, _, _ in source:
        seen += names
    assert seen == ["file.avi", "rtsp___belt", "short.avi", "file.avi", "short.avi"]
    assert source.unseen == ["rtsp___belt", "file.avi"]
    assert [line for line in log if "file.avi: the rest of it was not looked at, since the run ended" in line]


def test_a_file_beside_others_that_is_shorter_than_the_stride_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: list[str]
) -> None:
    (tmp_path / "two.streams").write_text("short.avi\nlong.avi\n")
    play(monkeypatch, {"short.avi": [[1, 2]], "long.avi": [[1, 2, 3, 4]]})
    source = open_source(str(tmp_path / "two.streams"), Intensity(), 3, vid_stride=3)
    assert shades(source) == {"long.avi": [3]}
    assert source.unseen == ["short.avi"]
    (line,) = log
    assert "short.avi: no frame of it is looked at, since it has fewer than --vid-stride 3" in line
    play(monkeypatch, {"short.avi": [[1, 2]], "long.avi": [[1, 2, 3, 4]]})
    with pytest.raises(UserError, match="--vid-stride 5: is larger"):
        shades(open_source(str(tmp_path / "two.streams"), Intensity(), 3, vid_stride=5))


def test_one_frame_in_two_is_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, {"rtsp://belt": [[1, 2, 3, 4, 5, 6]]})
    source = open_source("rtsp://belt", Intensity(), 3, vid_stride=2, buffer=True)
    assert shades(source) == {"rtsp___belt": [2, 4, 6]}
    assert len(source.unseen) == 1


@pytest.mark.parametrize("live", [False, True])
def test_frames_for_a_model_that_was_trained_on_more_bits_are_told_of_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: list[str], live: bool
) -> None:
    source = tmp_path / ("films.streams" if live else "a.avi")
    source.write_text("a.avi\nb.avi")
    monkeypatch.setattr(video, "utf8_path", lambda path: nullcontext(Path(path).name))
    play(monkeypatch, {"a.avi": [[1, 2]], "b.avi": [[3]]})
    trained = Intensity("auto", ((1200, 2400),), floating=False)
    shades(open_source(str(source), intensity_of_run(trained), 3, buffer=True))
    assert len([line for line in log if "there are images of 8 bits" in line]) == 1
