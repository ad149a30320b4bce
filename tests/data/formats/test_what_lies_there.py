"""What lies in a dataset's folders is used, or named: labels of any case, other tasks, lists, parts, encodings."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from moat_det.data.config import load_dataset, reading
from moat_det.data.formats.coco import coco_names
from moat_det.data.formats.yolo_files import find_label, find_labels
from moat_det.data.images.find import find_files, read_list
from moat_det.data.images.header import count_pictures, read_header
from moat_det.data.index import SplitIndex, listed, open_index
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


@pytest.mark.parametrize("wrong", [{"category": [1]}, {"categories": [{"id": [1], "name": ["square"]}]}])
def test_names_are_found_beside_ids_that_are_none(tmp_path: Path, wrong: Any) -> None:
    """Whoever reads the annotations names these."""
    given: dict[str, Any] = {"categories": [{"id": 0, "name": "parts"}, {"id": 1, "name": "square"}]}
    first = coco(tmp_path / "1.json", [], given["categories"])
    other = coco(tmp_path / "2.json", [], **{**given, **wrong})
    assert coco_names(first, [other]) == ["square"]


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


def voc_folder(folder: Path, encoding: str, declared: str) -> None:
    picture(folder / "a.png")
    head = f'<?xml version="1.0"{declared}?>\n' if declared else ""
    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox>"
    write(folder / "a.xml", f"{head}<annotation>\n<object><name>划痕</name>{box}</object></annotation>", encoding)


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [("gbk", ' encoding="gbk"'), ("utf-16", ' encoding="utf-16"'), ("utf-16", ""), ("utf-8-sig", ' encoding="UTF-8"')],
)
def test_an_xml_is_read_in_the_encoding_that_it_declares(tmp_path: Path, encoding: str, declared: str) -> None:
    voc_folder(tmp_path, encoding, declared)
    assert open_index(tmp_path, {0: "划痕"}).boxes.tolist() == [[1, 2, 9, 8]]


def test_an_xml_in_gbk_that_does_not_say_so_is_told_what_it_needs(tmp_path: Path) -> None:
    voc_folder(tmp_path, "gbk", "")
    with pytest.raises(UserError, match="line 2 is not in UTF-8; save it as UTF-8, or declare its encoding"):
        open_index(tmp_path, {0: "划痕"})


@pytest.mark.parametrize(("encoding", "reason"), [("utf-16", "it is in UTF-16"), ("utf-16-le", "line 1 holds a NUL")])
def test_a_label_in_another_encoding_is_told_what_it_needs(tmp_path: Path, encoding: str, reason: str) -> None:
    picture(tmp_path / "a.png")
    write(tmp_path / "a.txt", f"0 {BOX}\n", encoding)
    with pytest.raises(UserError, match=rf"a\.txt: not a UTF-8 text \({reason}.*; save it as UTF-8"):
        open_index(tmp_path, NAMES)


def test_a_coco_json_in_utf_16_is_read(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    file = Path(coco(tmp_path / "set.json", [[4, 5, 20, 5, 20, 15]], [{"id": 1, "name": "square"}]))
    file.write_text(file.read_text(), encoding="utf-16")
    assert open_index(file, NAMES).boxes.tolist() == [[4, 5, 20, 15]]


def coco_split(root: Path, split: str, images: list[str]) -> None:
    entries = [{"id": i, "file_name": name} for i, name in enumerate(images)]
    content = {"images": entries, "annotations": [], "categories": [{"id": 1, "name": "square"}]}
    write(root / f"{split}.json", json.dumps(content))


def test_pictures_that_no_json_of_the_dataset_lists_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    a, b, stray, deep = (picture(tmp_path / f"images/{name}.png") for name in ("a", "b", "stray", "sub/deep"))
    coco_split(tmp_path, "train", ["a.png", "gone.png"])
    coco_split(tmp_path, "val", ["b.png"])
    write(tmp_path / "data.yaml", "train: train.json\nval: val.json\nimages: images\n")
    data = load_dataset(tmp_path / "data.yaml")
    for split, image in (("train", a), ("val", b)):
        for _ in range(2):  # the second one is kept in the cache
            index = open_index(data[split], data["names"], **reading(data))  # type: ignore[literal-required]
            assert index.paths == [image]
            assert index.report.unlisted == [stray, deep]
    with caplog.at_level("WARNING", logger="moat_det"):
        index.report.log("val: ")
    assert "no COCO JSON of the dataset lists them: 2 .png" in caplog.text


@pytest.mark.parametrize("entry", ["good.txt", "images/good", "images/goo*"])
def test_pictures_that_another_split_names_without_a_json_are_used(tmp_path: Path, entry: str) -> None:
    """As those are that `moat mine-negatives --write-yaml` adds to the training."""
    _, _, good, stray = (picture(tmp_path / f"images/{name}.png") for name in ("a", "b", "good/c", "stray"))
    coco_split(tmp_path, "train", ["a.png"])
    coco_split(tmp_path, "val", ["b.png"])
    write(tmp_path / "good.txt", f"{good}\n")
    write(tmp_path / "data.yaml", f"train: [train.json, {entry}]\nval: val.json\nimages: images\n")
    data = load_dataset(tmp_path / "data.yaml")
    for split in ("train", "val"):
        index = open_index(data[split], data["names"], **reading(data))  # type: ignore[literal-required]
        assert index.report.unlisted == [stray]


def test_nobody_looks_through_a_disk_whose_images_are_named_by_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = picture(tmp_path / "images/a.png")
    picture(tmp_path / "images/stray.png")
    coco_split(tmp_path, "train", [a])
    monkeypatch.setattr(listed, "walk", lambda folder: pytest.fail(f"looked through {folder}"))
    index = open_index(tmp_path / "train.json", {0: "square"}, {str(tmp_path / "train.json"): "/"})
    assert (index.paths, index.report.unlisted) == ([a], [])


def test_a_part_of_a_json_leaves_the_rest_listed(tmp_path: Path) -> None:
    names = [Path(picture(tmp_path / f"images/{i}.png")).name for i in range(4)]
    coco_split(tmp_path, "train", names)
    assert open_index(tmp_path / "train.json", {0: "square"}, part=2).report.unlisted == []


@pytest.mark.parametrize("name", ["set.json", "data.yaml", "data.YML", "a.xml"])
def test_the_file_of_a_dataset_is_no_list_of_images(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(UserError, match=f"{name}: is a dataset or its labels, .*; give the folder of its images"):
        find_files(tmp_path / name)


def test_a_folder_that_a_pattern_matches_is_named(tmp_path: Path) -> None:
    image, _ = picture(tmp_path / "images/a.png"), picture(tmp_path / "images/deep/b.png")
    found = find_files(tmp_path / "images/*")
    assert (found.images, found.folders) == ([image], [str(tmp_path / "images/deep")])
    assert found.left_out == f"1 folder(s) such as {tmp_path / 'images/deep'}"
    assert not find_files(tmp_path / "images/**").left_out
    assert find_files(tmp_path / "ima*").images == find_files(tmp_path / "images").images


@pytest.mark.parametrize(
    ("folder", "pattern"),
    [*itertools.product(("set [1]", "a*b", "what?"), ("*.png", "a.pn?")), ("a*b", "[a].png"), ("what?", "[a].png")],
)
def test_a_pattern_is_found_in_a_folder_whose_name_looks_like_one(tmp_path: Path, folder: str, pattern: str) -> None:
    image = picture(tmp_path / folder / "a.png")
    assert find_files(tmp_path / folder / pattern).images == [image]


def test_a_split_may_be_a_pattern(tmp_path: Path) -> None:
    images = [picture(tmp_path / f"images/{cam}/a.png") for cam in ("cam1", "cam2")]
    write(tmp_path / "data.yaml", "train: images/*/*.png\nval: images/cam?/*\nnames: [square]\n")
    assert index_of(tmp_path / "data.yaml").paths == images
