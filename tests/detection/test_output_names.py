"""What the outputs of a run are called, and that each leads back to its file."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moat_det.detection.output_names import OutputNames, common_folder
from moat_det.detection.source_files import list_files, source_root


@pytest.fixture
def cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("cam1/p.png", "cam2/p.png", "cam2/p.jpg", "cam2/p.mp4", "cam2/P.bmp", "q.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "list.txt").write_text("cam1/p.png\ncam2/p.png\n")
    (tmp_path / "one.txt").write_text("cam1/p.png\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("cam*/p.png", ["cam1/p.png", "cam2/p.png"]),
        ("*1/p.png", ["cam1/p.png"]),
        ("cam1/*.png", ["p.png"]),
        ("**/*.png", ["cam1/p.png", "cam2/p.png", "q.png"]),
        ("cam1", ["p.png"]),
        ("cam1/p.png", ["p.png"]),
        ("list.txt", ["cam1/p.png", "cam2/p.png"]),
        ("one.txt", ["p.png"]),
    ],
)
def test_files_go_by_their_path_below_what_was_named(cameras: Path, source: str, expected: list[str]) -> None:
    for given_source in (source, str(cameras / source)):
        images, videos = list_files(given_source)
        names = OutputNames(source_root(given_source, [*images, *videos]))
        assert [names.relative(image) for image in images] == expected
        assert [f"{names.base(image)}.png" for image in images] == expected


def test_files_that_differ_in_their_suffix_keep_it(cameras: Path) -> None:
    names = OutputNames(str(cameras / "cam2"))
    files = [str(cameras / "cam2" / name) for name in ("p.jpg", "p.png", "p.mp4", "P.bmp")]
    assert [names.base(file) for file in files] == ["p", "p.png", "p.mp4", "P.bmp"]
    assert names.base(files[1]) == "p.png"  # of every frame


def test_a_second_picture_of_a_name_takes_that_of_no_other(tmp_path: Path) -> None:
    first, second, third = (str(tmp_path / name) for name in ("base.png", "base_2.png", "base_2.jpg"))
    names = OutputNames(str(tmp_path))
    assert [names.base(first), names.base(first, 2), names.base(second)] == ["base", "base_2", "base_2.png"]
    names = OutputNames(str(tmp_path))
    assert [names.base(second), names.base(third), names.base(first)] == ["base_2", "base_2.jpg", "base"]
    assert [names.base(first, time) for time in (2, 3, 2)] == ["base_2-2", "base_3", "base_2-2"]


def test_frames_of_a_video_are_called_as_no_picture(tmp_path: Path) -> None:
    pictures = (
        "belt_1.png",
        "BELT_02.png",
        "clip_frames/clip_3.png",
        "a/b_frames/b_7.png",
        "cam.avi_2.png",
        "cam_9.png",
    )
    expected = {
        **{name: name[:-4] for name in pictures},
        **{"belt.avi": "belt.avi", "belt_1.avi": "belt_1.avi", "clip.mp4": "clip.mp4", "a/b.mp4": "a/b.mp4"},
        **{"cam.avi": "cam.avi-2", "other.avi": "other"},
    }
    for name in expected:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    files = [str(tmp_path / name) for name in expected]
    for order in (files, files[::-1]):
        names = OutputNames(str(tmp_path), order)
        assert {names.relative(file): names.base(file) for file in order} == expected


def test_settled_names_do_not_depend_on_what_is_seen_first(tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ("a.png", "a.jpg", "a.bmp")]
    for order in (files, files[::-1]):
        names = OutputNames(str(tmp_path))
        names.settle(order)
        assert [names.base(file) for file in files] == ["a.png", "a.jpg", "a"]


def test_what_lies_elsewhere_keeps_its_whole_path(cameras: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(cameras / "cam1")
    assert OutputNames().relative("p.png") == "p.png"
    assert OutputNames().relative(str(cameras / "q.png")) == (cameras / "q.png").relative_to("/").as_posix()


def test_the_common_folder() -> None:
    assert common_folder([]) is None
    assert common_folder(["/a/b/c.png"]) == "/a/b"
    assert common_folder(["/a/b/c.png", "/a/d/c.png"]) == "/a"


@settings(deadline=None, max_examples=200)
@given(st.lists(st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=40), unique=True, max_size=5))
def test_no_name_of_a_picture_in_memory_leads_out_of_the_run(names: list[str]) -> None:
    outputs = OutputNames("/data/set")
    bases = [outputs.base(name) for name in names]
    assert len({base.casefold() for base in bases}) == len(bases)
    for base in bases:
        assert not PurePosixPath(base).is_absolute()
        assert ".." not in PurePosixPath(base).parts
