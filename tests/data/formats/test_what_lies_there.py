"""What lies in a dataset's folders is used, or named: labels of any case, other tasks, lists, parts, encodings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from moat_det.data.config import load_dataset, reading
from moat_det.data.formats.coco import coco_names
from moat_det.data.formats.yolo_files import find_label, find_labels
from moat_det.data.images.find import read_list
from moat_det.data.images.header import count_pictures, read_header
from moat_det.data.index import SplitIndex, open_index
from moat_det.errors import UserError

BOX = "0.5 0.5 0.25 0.25"
NAMES = {0: "square", 1: "disc"}


def picture(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if path.suffix == ".pgm" else "RGB", (40, 40), 90).save(path)
    return str(path)


def write(path: Path, text: str, encoding: str = "utf-8") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)
    return str(path)


def index_of(file: Path) -> SplitIndex:
    data = load_dataset(file)
    return open_index(data["train"], data["names"], **reading(data))


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/a.png", "labels/a.TXT"),
        ("Images/a.png", "Labels/a.txt"),
        ("images/Train/a.png", "LABELS/train/a.txt"),
        ("images/A.png", "labels/a.txt"),
    ],
)
def test_labels_are_found_whatever_their_case(tmp_path: Path, image: str, label: str) -> None:
    file = write(tmp_path / label, f"0 {BOX}\n")
    assert find_label(picture(tmp_path / image)) == file


def test_a_label_of_one_image_is_not_that_of_another(tmp_path: Path) -> None:
    images = [picture(tmp_path / "images" / name) for name in ("a.png", "A.png")]
    label = write(tmp_path / "labels/a.txt", f"0 {BOX}\n")
    assert find_labels(images) == {images[0]: label, images[1]: None}


def test_a_second_label_and_a_stranger_are_named(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.png")
    write(tmp_path / "labels/a.txt", f"0 {BOX}\n")
    unused = [write(tmp_path / "images/scan.raw", ""), *(write(tmp_path / f"labels/{n}.txt", "") for n in ("A", "b"))]
    assert open_index(tmp_path / "images", NAMES).report.unused == unused


def test_a_label_of_another_case_that_appears_is_seen_by_the_cached_index(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.png")
    assert len(open_index(tmp_path / "images", NAMES).boxes) == 0
    write(tmp_path / "Labels/a.TXT", f"0 {BOX}\n")
    assert len(open_index(tmp_path / "images", NAMES).boxes) == 1


@pytest.mark.parametrize("suffix", ["pgm", "ppm", "jfif", "tga", "pcx", "dib", "qoi"])
def test_pictures_of_other_suffixes_are_images(tmp_path: Path, suffix: str) -> None:
    header = read_header(picture(tmp_path / f"images/a.{suffix}"))
    assert (header.height, header.width, header.deep) == (40, 40, False)
    assert len(open_index(tmp_path / "images", NAMES).paths) == 1


def test_rows_of_a_pose_dataset_are_boxes(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.png")
    write(tmp_path / "labels/a.txt", f"0 {BOX} 0.1 0.1 0.2 0.2 0.3 0.3 0.4 0.4\n")
    text = "train: images\nval: images\nnames: [square]\n"
    write(tmp_path / "data.yaml", text + "kpt_shape: [4, 2]\n")
    assert index_of(tmp_path / "data.yaml").shares.tolist() == [[0.5, 0.5, 0.25, 0.25]]
    write(tmp_path / "data.yaml", text + "kpt_shape: [3, 2]\n")
    with pytest.raises(UserError, match="13 columns; by 'kpt_shape'"):
        index_of(tmp_path / "data.yaml")
    write(tmp_path / "data.yaml", text + "kpt_shape: 4\n")
    with pytest.raises(UserError, match="'kpt_shape: 4' is not"):
        load_dataset(tmp_path / "data.yaml")


def coco(file: Path, outline: object, categories: list[dict[str, object]], category: int = 1) -> str:
    note = {"id": 1, "image_id": 1, "category_id": category, "segmentation": outline}
    images = [{"id": 1, "file_name": "a.png"}]
    return write(file, json.dumps({"images": images, "annotations": [note], "categories": categories}))


@pytest.mark.parametrize(
    ("outline", "box"),
    [
        ([[4, 5, 20, 5, 20, 15], [10, 2, 12, 3, 12, 9]], [4, 2, 20, 15]),
        ({"size": [40, 40], "counts": [5 * 40 + 10, 8, 32, 8, 1600 - 258]}, [5, 10, 7, 18]),
    ],
)
def test_an_outline_without_bbox_gives_its_box(tmp_path: Path, outline: object, box: list[float]) -> None:
    picture(tmp_path / "a.png")
    file = coco(tmp_path / "set.json", outline, [{"id": 1, "name": "square"}])
    assert open_index(file, NAMES).boxes.tolist() == [box]


def test_neither_outline_nor_bbox_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(UserError, match="no 'bbox' in it, and no outline"):
        open_index(coco(tmp_path / "set.json", [], [{"id": 1, "name": "square"}]), NAMES)


def test_a_category_that_groups_others_is_no_class(tmp_path: Path) -> None:
    categories: list[dict[str, object]] = [
        {"id": 0, "name": "parts", "supercategory": "none"},
        {"id": 1, "name": "square", "supercategory": "parts"},
    ]
    outline = [[4, 5, 20, 5, 20, 15]]
    first = coco(tmp_path / "1.json", outline, categories)
    assert coco_names(first) == ["square"]
    used = coco(tmp_path / "2.json", outline, categories, category=0)
    assert coco_names(used) == coco_names(first, [used]) == ["parts", "square"]


@pytest.mark.parametrize(
    "line", ["images/a.png", "./images/a.png", "images\\a.png", '"images/a.png"', "../images/a.png"]
)
@pytest.mark.parametrize("root", [True, False])
def test_an_entry_of_a_list_is_found(tmp_path: Path, line: str, root: bool) -> None:
    image = picture(tmp_path / "set/images/a.png")
    file = write(tmp_path / "set/splits/list.txt", f"{line}\n")
    assert read_list(file, str(tmp_path / "set") if root else None) == [image]


def test_what_a_list_names_and_is_not_there_is_left_out_and_named(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    report = open_index(write(tmp_path / "list.txt", "a.png\ngone.png\n"), NAMES).report
    assert [path for path, _ in report.unreadable] == [str(tmp_path / "gone.png")]


def test_a_part_has_images_of_every_class_and_lies_within_a_larger_one(tmp_path: Path) -> None:
    for i in range(20):
        picture(tmp_path / f"images/{i:02}.png")
        write(tmp_path / f"labels/{i:02}.txt", f"{int(i >= 10)} {BOX}\n")
    half, few = (open_index(tmp_path / "images", NAMES, part=part) for part in (0.5, 4))
    assert [half.classes.tolist().count(cls) for cls in NAMES] == [5, 5]
    assert [few.classes.tolist().count(cls) for cls in NAMES] == [2, 2]
    assert set(few.paths) < set(half.paths)


def test_a_yaml_in_utf_16_is_read_and_one_in_gbk_is_told_what_it_needs(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.png")
    text = "train: images\nval: images\nnames: [划痕]\n"
    assert load_dataset(write(tmp_path / "a.yaml", text, "utf-16"))["names"] == {0: "划痕"}
    with pytest.raises(UserError, match="line 3 is not in UTF-8; save it as UTF-8"):
        load_dataset(write(tmp_path / "b.yaml", text, "gbk"))


@pytest.mark.parametrize("suffix", ["tif", "webp", "png"])
def test_pictures_of_a_file_are_counted(tmp_path: Path, suffix: str) -> None:
    pages = [Image.new("RGB", (40, 40), (value, 0, 0)) for value in (0, 90, 200)]
    pages[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=pages[1:])
    assert count_pictures(tmp_path / f"a.{suffix}") == 3
    assert open_index(tmp_path, NAMES).report.several == [(str(tmp_path / f"a.{suffix}"), 3)]
