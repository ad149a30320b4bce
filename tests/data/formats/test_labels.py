from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from ultralytics.utils.patches import imread

from helpers.dataset_files import HEIGHT, WIDTH, find_images, noise
from moat_det.data.formats.annotation import Annotation, Cleaning
from moat_det.data.formats.faults import refuse
from moat_det.data.formats.yolo import read_labels
from moat_det.data.formats.yolo_files import find_labels, label_places
from moat_det.data.images import header as header_module
from moat_det.data.images.header import ImageHeader, read_header
from moat_det.data.images.read import read_image
from moat_det.data.index import ScanReport, open_index
from moat_det.errors import UserError

SIZE = (100, 200)  # height, width


def read(file: Path | None, num_classes: int | None) -> Annotation:
    """As training reads."""
    return read_labels(None if file is None else str(file), num_classes, refuse)


def touch(root: Path, *names: str) -> list[Path]:
    paths = [root / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


# Finding images


def test_a_folder_gives_its_images_sorted_by_path_and_nothing_else(tmp_path: Path) -> None:
    touch(tmp_path, "classes.txt", "a.jpg.bak", ".hidden.png", "._a.jpg", ".cache/x.jpg", "Thumbs.db", "noext")
    wanted = touch(tmp_path, "10.png", "2.JPG", "B.Tiff", "a-b/x.jpg", "a.JPEG", "a/x.jpg")
    assert find_images(tmp_path) == sorted(wanted, key=str)


def test_a_list_file_is_relative_to_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    near, far = touch(tmp_path, "set/images/b.png", "far/a.PNG")
    file = tmp_path / "set/train.txt"
    file.write_bytes(f"\ufeff./images/b.png\r\n\r\nimages/b.png\r\n../far/a.PNG\r\n{far}\r\n".encode())
    assert find_images("set/train.txt") == [far, near]


def test_several_sources_give_each_image_once(tmp_path: Path) -> None:
    a, b = touch(tmp_path, "one/a.png", "two/b.png")
    (tmp_path / "list.txt").write_text("one/a.png\n")
    assert find_images([tmp_path / "two", tmp_path / "list.txt", a, tmp_path]) == [a, b]


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    (image,) = touch(tmp_path, "far/a.png")
    (tmp_path / "near").mkdir()
    (tmp_path / "near/link").symlink_to(tmp_path / "far")
    (tmp_path / "far/up").symlink_to(tmp_path / "far")
    assert find_images(tmp_path / "near") == [tmp_path / "near/link" / image.name]


@pytest.mark.parametrize("link_first", [True, False])
def test_a_link_beside_its_folder_hides_no_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link_first: bool, log: list[str]
) -> None:
    """File systems list a folder in any order."""
    (image,) = touch(tmp_path, "set/images/real/x.png")
    touch(tmp_path, "set/labels/real/x.txt", "set/images/.kept/y.png", "beside/z.png")
    images = tmp_path / "set/images"
    for name, target in [
        ("latest", "real"),
        ("up", "../.."),
        ("kept", ".kept"),
        ("out", "../../beside"),
        ("b", "../../beside"),
    ]:
        (images / name).symlink_to(target)
    walk, links = os.walk, {"latest", "up", "kept", "out", "b"}

    def in_order(*given: Any, **named: Any) -> Iterator[tuple[str, list[str], list[str]]]:
        for root, folders, files in walk(*given, **named):
            folders.sort(key=lambda name: (name in links) != link_first)
            yield root, folders, files

    monkeypatch.setattr(os, "walk", in_order)
    assert find_images(images) == [images / "b/z.png", images / "kept/y.png", image]
    assert find_labels([str(image)]) == {str(image): str(tmp_path / "set/labels/real/x.txt")}
    for name in ("latest", "up", "out"):
        assert sum(f"{images / name}: not followed" in message for message in log) == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("empty", "no images in it"),
        ("empty.txt", "no images in it"),
        ("binary.txt", "neither an image nor a UTF-8 list"),
        ("gone", "no such folder"),
        (["full", "empty"], "no images in it"),
    ],
)
def test_a_source_without_images_is_an_error(tmp_path: Path, source: str | list[str], message: str) -> None:
    touch(tmp_path, "empty/readme.md", "empty.txt", "full/a.png")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=message) as caught:
        find_images([tmp_path / s for s in source] if isinstance(source, list) else tmp_path / source)
    assert str(caught.value).startswith(str(tmp_path))
    assert "\n" not in str(caught.value)


# Image headers


def save_turned(path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    noise().save(path, exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_a_turned_image_has_the_size_that_decoding_gives(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = tmp_path / f"turned{suffix}"
    save_turned(path, orientation)
    header = read_header(path)
    assert (header.height, header.width) == read_image(path).shape[:2]
    assert (header.height, header.width) == ((WIDTH, HEIGHT) if orientation > 4 else (HEIGHT, WIDTH))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".bmp", ".webp", ".jp2"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.95])
def test_a_cut_off_image_is_unreadable_exactly_if_the_engine_cannot_decode_it(
    tmp_path: Path, suffix: str, share: float
) -> None:
    path = tmp_path / f"cut{suffix}"
    noise(200, 300).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    if imread(path) is None:
        with pytest.raises(OSError, match=r"empty|decoded"):
            read_header(path)
    else:
        assert (read_header(path).height, read_header(path).width) == (200, 300)


def test_bytes_behind_the_end_of_an_image_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "tail.jpg"
    noise().save(path)
    path.write_bytes(path.read_bytes() + bytes(5000))
    assert read_header(path) == ImageHeader(HEIGHT, WIDTH, deep=False)


@pytest.mark.parametrize(
    ("name", "dtype", "channels", "deep"),
    [
        ("gray8.png", np.uint8, 1, False),
        ("colour8.bmp", np.uint8, 3, False),
        ("colour8.tif", np.uint8, 3, False),
        ("gray16.png", np.uint16, 1, True),
        ("colour16.png", np.uint16, 3, True),
        ("gray16.tif", np.uint16, 1, True),
        ("colour16.tif", np.uint16, 3, True),
    ],
)
def test_the_depth_is_told_from_the_header(
    tmp_path: Path, name: str, dtype: type, channels: int, deep: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, channels), 200, dtype))
    monkeypatch.setattr(header_module, "read_image", None)
    assert read_header(path) == ImageHeader(HEIGHT, WIDTH, deep)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_the_header_leaves_open_is_decoded(tmp_path: Path, dtype: type, channels: int) -> None:
    path = tmp_path / "measured.tif"
    cv2.imwrite(str(path), np.ones((HEIGHT, WIDTH, channels), dtype))
    assert read_header(path) == ImageHeader(HEIGHT, WIDTH, deep=True)


# Label files


@pytest.mark.parametrize(
    ("image", "present", "label"),
    [
        ("set/images/train/a.jpg", [], "set/labels/train/a.txt"),
        ("set/images/train/a.b.JPG", [], "set/labels/train/a.b.txt"),
        ("images/set/images/a.jpg", [], "images/set/labels/a.txt"),
        ("images/a.jpg", [], "labels/a.txt"),
        ("set/pictures/a.jpg", [], "set/pictures/a.txt"),
        ("set/images.jpg", [], "set/images.txt"),
        ("set/images/a.jpg", ["set/images/a.txt"], "set/images/a.txt"),
        ("set/images/a.jpg", ["set/images/a.txt", "set/labels/a.txt"], "set/labels/a.txt"),
    ],
)
def test_where_the_labels_of_an_image_are(tmp_path: Path, image: str, present: list[str], label: str) -> None:
    touch(tmp_path, *present)
    places = list(map(Path, label_places(str(tmp_path / image))))
    assert next((place for place in places if place.is_file()), places[0]) == tmp_path / label


BOX = "1 0.5 0.5 0.25 0.5"
BOX_PIXELS = [75, 25, 125, 75]


@pytest.mark.parametrize(
    ("text", "classes", "boxes", "cleaning"),
    [
        ("", [], [], Cleaning()),
        ("\n \r\n", [], [], Cleaning()),
        (BOX, [1], [BOX_PIXELS], Cleaning()),
        (f"\ufeff{BOX}\r\n\r\n", [1], [BOX_PIXELS], Cleaning()),
        ("1.0\t0.5  5e-1 .25 0.50", [1], [BOX_PIXELS], Cleaning()),
        (f"{BOX}\n{BOX}\n1 0.50 0.5 0.25 0.5", [1], [BOX_PIXELS], Cleaning(duplicates=2)),
        (f"2{BOX[1:]}\n{BOX}", [2, 1], [BOX_PIXELS] * 2, Cleaning()),
        ("0 0.5 0.5 0 0.2\n0 0.5 0.5 0.2 0", [], [], Cleaning(no_area=2, emptied=1)),
        (f"0 0.5 0.5 0 0.2\n{BOX}", [1], [BOX_PIXELS], Cleaning(no_area=1)),
        ("0 1.5 0.5 0.2 0.2\n0 -0.5 0.5 0.2 0.2", [], [], Cleaning(no_area=2, emptied=1)),
        ("0 0.0 0.5 0.2 0.2", [0], [[0, 40, 20, 60]], Cleaning(clipped=1)),
        ("0 0.95 0.95 0.2 0.2", [0], [[170, 85, 200, 100]], Cleaning(clipped=1)),
        ("0 0.5 0.5 1.001 1.001", [0], [[0, 0, 200, 100]], Cleaning()),  # a rounding, under half a pixel
        ("0 0 0.5 0.2 0.2\n0 0.025 0.5 0.15 0.2", [0], [[0, 40, 20, 60]], Cleaning(duplicates=1, clipped=2)),
        ("2 0.25 0.2 0.5 0.4 0.25 0.6", [2], [[50, 20, 100, 60]], Cleaning(polygons=1)),
        ("2 0 0 1 0 1 1 0 1", [2], [[0, 0, 200, 100]], Cleaning(polygons=1)),
        ("0 0.1 0.1 0.3 0.1 0.5 0.1", [], [], Cleaning(polygons=1, no_area=1, emptied=1)),
        (f"2 .375 .25 .625 .75 .5 .5\n{BOX}", [2, 1], [BOX_PIXELS] * 2, Cleaning(polygons=1)),
    ],
)
def test_rows_are_cleaned_and_counted(
    tmp_path: Path, text: str, classes: list[int], boxes: list[list[float]], cleaning: Cleaning
) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(text.encode())
    labels, found = read(file, 3).clean("a.png", *SIZE)
    assert labels.classes.tolist() == classes
    np.testing.assert_allclose(labels.boxes, np.reshape(boxes, (-1, 4)), atol=1e-9)
    x, y, w, h = labels.shares.T
    corners = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1)
    np.testing.assert_allclose(corners * [200, 100, 200, 100], labels.boxes, atol=1e-9)
    assert found == cleaning


def test_a_box_within_the_image_keeps_the_digits_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("0 0.3333333 0.7 0.1 0.2")
    assert read(file, 1).clean("a.png", *SIZE)[0].shares.tolist() == [[0.3333333, 0.7, 0.1, 0.2]]


def test_no_label_file_means_no_boxes() -> None:
    assert read(None, 3).clean("a.png", *SIZE)[0].boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("3 0.5 0.5 0.1 0.1", r"class id 3, .* 3 names \(ids 0 to 2\)"),
        ("-1 0.5 0.5 0.1 0.1", "class id -1 is not a whole number"),
        ("1.5 0.5 0.5 0.1 0.1", "class id 1.5 is not a whole number"),
        ("scratch 0.5 0.5 0.1 0.1", "'scratch'; write numbers"),
        ("0_1 0.5 0.5 0.1 0.1", "'0_1'; write numbers"),
        ("0 0.5 0.5 0.1 \u0660.\u0661", "write numbers"),
        ("0,0.5,0.5,0.1,0.1", "1 columns"),
        ("0 0,5 0,5 0,1 0,1", "'0,5'; write numbers"),
        ("0 0.5 0.5 0.1", "4 columns"),
        ("0 0.5 0.5 0.1 0.1 0.9", "6 columns"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "8 columns"),
        ("0 nan 0.5 0.1 0.1", "not all values are finite"),
        ("0 0.5 0.5 inf 0.1", "not all values are finite"),
        ("nan 0.5 0.5 0.1 0.1", "not all values are finite"),
        ("0 0.5 0.5 -0.1 0.2", "negative side"),
        ("0 0.5 0.5 0.1 -0.2", "negative side"),
        ("0 100 50 20 10", "coordinate 100 is no share"),
        ("0 10 10 20 10 20 20 10 200", "coordinate 200 is no share"),
    ],
)
def test_a_malformed_row_is_named_by_file_and_line(tmp_path: Path, row: str, message: str) -> None:
    file = tmp_path / "a.txt"
    file.write_text(f"{BOX}\n\n{row}\n", encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        read(file, 3)
    assert str(caught.value).startswith(f"{file}, line 3: ")
    assert "\n" not in str(caught.value)


def test_a_label_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"\xff\xfe0\x00")
    with pytest.raises(UserError, match=f"{file}: not a UTF-8 text"):
        read(file, 3)


def test_any_class_id_passes_where_classes_do_not_matter(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("17 0.5 0.5 0.1 0.1")
    assert [row.cls for row in read(file, None).rows] == [17]


# The scan

NAMES = {0: "scratch", 1: "pit", 2: "stain"}


def scan(images: Sequence[Path]) -> tuple[list[dict[str, Any]], ScanReport]:
    index = open_index(images, NAMES)
    return index.labels(), index.report


def dirty_set(root: Path) -> list[Path]:
    """Two labelled images, two backgrounds, one deep, and seven unreadable ones between them."""
    names = ["a.jpg", "b.png", "d.png", *(f"c{i}.jpg" for i in range(7)), "z.png"]
    images = [root / name for name in sorted(names)]
    for image in images:
        noise().save(image)
        if image.name.startswith("c"):
            image.write_bytes(image.read_bytes()[:100])
    (root / "a.txt").write_text(f"{BOX}\n{BOX}\n0 0 0.5 0.2 0.2\n")
    (root / "b.txt").write_text("0 0.5 0.5 0 0\n")
    (root / "z.txt").write_text("2 0.25 0.2 0.5 0.4 0.25 0.6\n")
    cv2.imwrite(str(root / "z.png"), np.zeros((50, 70), np.uint16))
    return images


def test_a_scan_keeps_the_order_and_counts(tmp_path: Path) -> None:
    labels, report = scan(dirty_set(tmp_path))
    assert [Path(label["im_file"]).name for label in labels] == ["a.jpg", "b.png", "d.png", "z.png"]
    assert [label["shape"] for label in labels] == [(HEIGHT, WIDTH)] * 3 + [(50, 70)]
    assert [label["cls"].shape for label in labels] == [(2, 1), (0, 1), (0, 1), (1, 1)]
    assert [label["bboxes"].shape for label in labels] == [(2, 4), (0, 4), (0, 4), (1, 4)]
    assert {label[key].dtype.name for label in labels for key in ("cls", "bboxes")} == {"float32"}
    assert (report.images, report.labelled, report.backgrounds, report.deep) == (4, 2, 2, 1)
    assert [Path(path).name for path, _ in report.unreadable] == [f"c{i}.jpg" for i in range(7)]
    assert report.cleaning == Cleaning(duplicates=1, no_area=1, clipped=1, polygons=1, emptied=1)


def test_the_report_says_each_thing_once(tmp_path: Path, log: list[str]) -> None:
    _, report = scan(dirty_set(tmp_path))
    log.clear()
    report.log("train: ")
    assert all("train: " in message and "\n" not in message for message in log)
    assert "4 images: 2 with boxes, 2 backgrounds, 7 unreadable" in log[0]
    assert "1 duplicate boxes dropped, 1 boxes without area dropped, 1 boxes clipped" in log[1]
    assert "1 images left without a box, which count as good parts" in log[1]
    assert [i for i in range(7) if any(f"c{i}.jpg: " in message for message in log)] == list(range(5))
    assert sum("2 more unreadable" in message for message in log) == 1
    assert sum("more than 8 bits" in message for message in log) == 1
    assert len(log) == 9


def test_a_clean_set_is_one_line(tmp_path: Path, log: list[str]) -> None:
    noise().save(tmp_path / "a.png")
    _, report = scan([tmp_path / "a.png"])
    log.clear()
    report.log()
    assert log == ["1 images: 0 with boxes, 1 backgrounds, 0 unreadable"]


def test_no_readable_image_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.png")
    list_file = tmp_path / "list.txt"
    list_file.write_text("a.png\nb.png\ngone.png\n")
    with pytest.raises(UserError, match=r"none of the 3 images .*a\.png: the file is empty"):
        scan([list_file])


def test_the_first_malformed_row_stops_the_scan(tmp_path: Path) -> None:
    images = dirty_set(tmp_path)
    (tmp_path / "d.txt").write_text("7 0.5 0.5 0.1 0.1")
    with pytest.raises(UserError, match=r"d\.txt, line 1: class id 7"):
        scan(images)


def test_huge_images_are_not_decoded_for_their_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise().save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Pillow refuses twice as much
    monkeypatch.setattr(header_module, "read_image", None)
    assert scan([tmp_path / "a.png"])[0][0]["shape"] == (HEIGHT, WIDTH)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_nothing_is_written(tmp_path: Path) -> None:
    images = dirty_set(tmp_path)
    before = {path: (path.read_bytes(), os.stat(path).st_mtime_ns) for path in tmp_path.rglob("*")}
    scan(images)
    assert {path: (path.read_bytes(), os.stat(path).st_mtime_ns) for path in tmp_path.rglob("*")} == before
