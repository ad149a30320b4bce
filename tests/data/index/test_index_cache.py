from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from test_index_formats import assert_same

from helpers.annotation_files import NAMES, write_coco, write_images, write_voc, write_yolo
from moat_det.data.index import cache, names, open_index
from moat_det.data.index import open as open_module
from moat_det.data.index.names import json_names


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOAT_DET_CACHE", str(tmp_path / "home"))
    monkeypatch.setattr(cache, "_SETTLED_SECONDS", -60.0)  # files of just now count as old
    return tmp_path / "home/index"


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each scan that the cache did not spare."""
    done: list[int] = []
    scan = open_module.scan_records

    def counted(*arguments: object) -> object:
        done.append(1)
        return scan(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(open_module, "scan_records", counted)
    return done


def write(root: Path, kind: str) -> Path:
    images = write_images(root / "images")
    if kind == "yolo":
        write_yolo(root / "labels")
        return images
    return write_coco(root / "set.json") if kind == "coco" else write_voc(root / "Annotations")


@pytest.mark.parametrize("kind", ["yolo", "coco", "voc"])
def test_a_second_opening_reads_no_file(tmp_path: Path, home: Path, scans: list[int], kind: str) -> None:
    place = write(tmp_path / "set", kind)
    (tmp_path / "set/images/a.png").write_bytes(b"no image")
    first, second = open_index(place, NAMES), open_index(place, NAMES)
    assert len(scans) == 1
    assert_same(second, first)
    assert second.report == first.report
    assert second.formats == first.formats
    assert len(list(home.iterdir())) == 1


def change_label(root: Path) -> None:
    file = root / "labels/a.txt"
    stat = file.stat()
    file.write_text(file.read_text().replace("1", "2", 1))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as an archive does that is unpacked over it


@pytest.mark.parametrize(
    "change",
    [
        change_label,
        lambda root: (root / "labels/a.txt").unlink(),
        lambda root: (root / "images/c.txt").write_text("0 0.5 0.5 0.1 0.1") and (root / "labels/c.txt").unlink(),
        lambda root: shutil.copy(root / "images/a.png", root / "images/0.png"),
        lambda root: (root / "images/b.png").unlink(),
        lambda root: (root / "images/b.png").rename(root / "images/bb.png"),
        lambda root: shutil.copy(root / "images/a.png", root / "images/b.png"),
    ],
)
def test_a_change_of_the_files_is_seen(
    tmp_path: Path, home: Path, scans: list[int], change: Callable[[Path], object]
) -> None:
    place = write(tmp_path / "set", "yolo")
    open_index(place, NAMES)
    change(tmp_path / "set")
    index = open_index(place, NAMES)
    assert len(scans) == 2
    shutil.rmtree(home)
    assert_same(open_index(place, NAMES), index)


def test_a_label_that_comes_later_is_seen(tmp_path: Path, home: Path) -> None:
    place = write_images(tmp_path / "set/images")
    assert len(open_index(place, NAMES).boxes) == 0
    (place / "b.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    assert open_index(place, NAMES).classes.tolist() == [0]
    write_yolo(tmp_path / "set/labels")
    assert open_index(place, NAMES).classes.tolist() == [1, 0, 2]


@pytest.mark.parametrize("kind", ["coco", "voc"])
def test_a_change_of_annotations_and_names_is_seen(tmp_path: Path, home: Path, kind: str) -> None:
    place = write(tmp_path / "set", kind)
    open_index(place, NAMES)
    assert open_index(place, {0: "pit", 1: "scratch", 2: "stain"}).classes.tolist() == [0, 1, 2]
    file = place if kind == "coco" else place / "a.xml"
    text = file.read_text()
    file.write_text(
        text.replace("pit", "stain", 1) if kind == "voc" else text.replace('"category_id": 4', '"category_id": 9')
    )
    assert open_index(place, NAMES).classes.tolist() == ([2, 0, 2] if kind == "voc" else [0, 0, 2])


def test_parts_of_a_split_have_their_own(tmp_path: Path, home: Path) -> None:
    place = write(tmp_path / "set", "yolo")
    sizes = [len(open_index(place, NAMES, part=part).paths) for part in (1.0, 0.4, 2, 1.0, 0.4, 2)]
    assert sizes == [3, 1, 2, 3, 1, 2]


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "bit"])
def test_a_damaged_cache_is_made_anew(
    tmp_path: Path, home: Path, scans: list[int], log: list[str], damage: str
) -> None:
    place = write(tmp_path / "set", "yolo")
    index = open_index(place, NAMES)
    (file,) = home.iterdir()
    content = bytearray(file.read_bytes())
    content[content.index(b"\x93NUMPY", content.index(b"boxes.npy")) + 140] ^= 1
    damaged = {"empty": b"", "cut": file.read_bytes()[:300], "text": b"text" * 99, "bit": bytes(content)}[damage]
    file.write_bytes(damaged)
    assert_same(open_index(place, NAMES), index)
    assert any("the index is made anew" in message for message in log)
    open_index(place, NAMES)
    assert len(scans) == 2


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, home: Path, log: list[str]) -> None:
    place = write(tmp_path / "set", "yolo")
    home.parent.write_text("a file where the folder belongs")
    assert len(open_index(place, NAMES).boxes) == 3
    assert any("the index is not kept" in message for message in log)


def test_files_that_changed_while_they_were_read_are_not_cached(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_SETTLED_SECONDS", 2.0)
    open_index(write(tmp_path / "set", "yolo"), NAMES)
    assert not home.exists()


def test_an_image_that_becomes_readable_without_a_change_is_taken(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = write(tmp_path / "set", "yolo")

    def away(record: object) -> str:
        return "Input/output error" if "b.png" in str(record) else read(record)

    read = open_module.scan_records.__globals__["_read"]
    with monkeypatch.context() as patch:
        patch.setitem(open_module.scan_records.__globals__, "_read", away)
        assert len(open_index(place, NAMES).paths) == 2
    assert len(open_index(place, NAMES).paths) == 3


@pytest.mark.parametrize("kind", ["yolo", "coco", "voc"])
def test_nothing_is_written_into_the_data(tmp_path: Path, home: Path, kind: str) -> None:
    place = write(tmp_path / "set", kind)
    files = [tmp_path / "set", *(tmp_path / "set").rglob("*")]
    before = {path: path.stat().st_mtime_ns for path in files}
    for path in files:
        path.chmod(path.stat().st_mode & ~0o222)
    open_index(place, NAMES)
    assert {path: path.stat().st_mtime_ns for path in [files[0], *files[0].rglob("*")]} == before
    for path in files:
        path.chmod(path.stat().st_mode | 0o200)


def test_the_names_of_a_json_are_read_once(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = str(write(tmp_path / "set", "coco"))
    first = json_names(file)
    with monkeypatch.context() as patch:
        patch.setattr(names, "coco_names", None)
        assert json_names(file) == first == ["pit", "scratch", "stain"]
    write_coco(Path(file), categories=[{"id": 1, "name": "other"}])
    assert json_names(file) == ["other"]
