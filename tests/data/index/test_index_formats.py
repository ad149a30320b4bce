from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from ultralytics.data.build import build_dataloader
from ultralytics.utils.torch_utils import init_seeds

from helpers.annotation_files import BOXES, NAMES, voc, write_coco, write_images, write_voc, write_yolo
from helpers.datasets import open_dataset
from moat_det.checks.run import check_dataset
from moat_det.data.config import load_dataset, reading
from moat_det.data.index import SplitIndex, open_index
from moat_det.data.index.labels import labelled_images
from moat_det.errors import UserError
from moat_det.evaluation import coco_ground_truth


def assert_same(one: SplitIndex, other: SplitIndex) -> None:
    assert one.paths == other.paths
    assert one.shapes.tolist() == other.shapes.tolist()
    assert one.starts.tolist() == other.starts.tolist()
    assert one.classes.tolist() == other.classes.tolist()
    assert one.ignored.tolist() == other.ignored.tolist()
    assert one.boxes.round(2).tolist() == other.boxes.round(2).tolist()
    np.testing.assert_allclose(one.shares, other.shares, atol=1e-6)


# Where images and annotations lie: each layout is one that tools write.


def test_three_formats_give_one_index(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images")
    write_yolo(tmp_path / "labels")
    yolo = open_index(images, NAMES)
    assert [Path(path).name for path in yolo.paths] == list(BOXES)
    assert yolo.classes.tolist() == [cls for boxes in BOXES.values() for cls, *_ in boxes]
    assert yolo.boxes.round(6).tolist() == [box for boxes in BOXES.values() for _, *box in boxes]
    assert_same(open_index(write_coco(tmp_path / "set.json"), NAMES), yolo)
    assert_same(open_index(write_voc(tmp_path / "Annotations"), NAMES), yolo)


@pytest.mark.parametrize(
    ("file", "images"),
    [
        ("_annotations.coco.json", "."),
        ("set.json", "images"),
        ("annotations/instances_val.json", "images/val"),
        ("annotations/instances_val.json", "val"),
        ("annotations/val.json", "images"),
        ("annotations/val.json", "."),
    ],
)
def test_the_images_of_a_json_are_found_around_it(tmp_path: Path, file: str, images: str) -> None:
    folder = write_images(tmp_path / images)
    index = open_index(write_coco(tmp_path / file), NAMES)
    assert index.paths == [str(folder / name) for name in BOXES]


@pytest.mark.parametrize("images", [".", "../JPEGImages", "../images"])
def test_the_images_of_xml_are_found_around_them(tmp_path: Path, images: str) -> None:
    annotations = write_voc(tmp_path / "Annotations")
    folder = write_images(annotations / images).resolve()
    assert open_index(annotations, NAMES).paths == [str(folder / name) for name in BOXES]


def test_images_elsewhere_are_named(tmp_path: Path) -> None:
    images = write_images(tmp_path / "far")
    annotations, file = write_voc(tmp_path / "xml"), write_coco(tmp_path / "json/set.json")
    for place in (annotations, file):
        index = open_index(place, NAMES, {str(place): str(images)})
        assert index.paths == [str(images / name) for name in BOXES]
    with pytest.raises(UserError, match=r"set\.json: its images, such as 'c\.jpg', are in none of .*'images'"):
        open_index(file, NAMES)
    with pytest.raises(UserError, match=r"none of the 3 images is readable, .*'images' in the dataset YAML"):
        open_index(annotations, NAMES)


def test_good_parts_beside_xml_need_no_xml(tmp_path: Path) -> None:
    folder = write_voc(write_images(tmp_path / "both"))
    (folder / "b.xml").unlink()
    assert [Path(path).name for path in open_index(folder, NAMES).paths] == list(BOXES)


def index_of(root: Path, yaml: str, split: str, part: float = 1.0) -> tuple[list[str], list[str], SplitIndex]:
    """Give the images of a split, and those that are left out, as paths below the root."""
    (root / "data.yaml").write_text(f"{yaml}\nnames: {list(NAMES.values())}\n")
    data: Any = load_dataset(root / "data.yaml")
    index, again = (open_index(data[split], data["names"], part=part, **reading(data)) for _ in range(2))
    assert (again.paths, again.report.unnamed) == (index.paths, index.report.unnamed)
    below = (
        [Path(path).relative_to(root).as_posix() for path in paths] for paths in (index.paths, index.report.unnamed)
    )
    return *below, index


def voc_split(root: Path, xml: str, pictures: str, defects: list[str], good: list[str]) -> None:
    """Write pictures, and XML files for those with defects."""
    whole = write_images(root / "whole")
    for folder in (xml, pictures):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name in (*defects, *good):
        (root / pictures / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(whole / "a.png", root / pictures / name)
    for name in defects:
        (root / xml / Path(name).name).with_suffix(".xml").write_text(voc("a.png").replace("a.png", name))


@pytest.mark.parametrize("pictures", ["set/Annotations", "set/JPEGImages", "set/images", "pictures"])
def test_good_parts_need_no_xml_wherever_the_images_lie(tmp_path: Path, pictures: str) -> None:
    voc_split(tmp_path, "set/Annotations", pictures, ["a.png"], ["b.png", "good/c.png"])
    voc_split(tmp_path, "other/Annotations", "other/JPEGImages", ["d.png"], [])
    images = "\nimages: {train: pictures}" if pictures == "pictures" else ""
    yaml = f"train: set/Annotations\nval: other/Annotations{images}"
    paths, left, index = index_of(tmp_path, yaml, "train")
    assert paths == [f"{pictures}/{name}" for name in ("a.png", "b.png", "good/c.png")]
    assert (left, index.report.backgrounds) == ([], 2)
    assert index_of(tmp_path, yaml, "train", part=0.4)[1] == []


@pytest.mark.parametrize("images", ["", "\nimages: set/JPEGImages"])
def test_a_picture_that_may_be_another_splits_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, images: str
) -> None:
    voc_split(tmp_path, "set/train", "set/JPEGImages", ["a.png", "own/e.png"], ["own/f.png"])
    voc_split(tmp_path, "set/val", "set/JPEGImages", ["b.png"], ["c.png", "good/d.png"])
    yaml = f"train: set/train\nval: set/val{images}"
    found = {split: index_of(tmp_path, yaml, split) for split in ("train", "val")}
    base = "set/JPEGImages"
    assert found["train"][0] == [f"{base}/{name}" for name in ("a.png", "own/e.png", "own/f.png")]
    assert found["val"][0] == [f"{base}/b.png"]
    for _, left, index in found.values():
        assert left == [f"{base}/c.png", f"{base}/good/d.png"]
        with caplog.at_level("WARNING", logger="moat_det"):
            index.report.log()
        assert "no XML file names them" in caplog.text
        caplog.clear()
    kinds = check_dataset(tmp_path / "data.yaml").by_kind()
    assert [Path(fault.file).name for fault in kinds["image_not_listed"]] == ["c.png", "d.png"]
    # The other split names c.png now: what this one leaves out is not kept from before.
    (tmp_path / "set/val/c.xml").write_text(voc("a.png").replace("a.png", "c.png"))
    assert index_of(tmp_path, yaml, "train")[1] == [f"{base}/good/d.png"]


@pytest.mark.parametrize("other", ["images/val", "val.txt", "val.json"])
def test_pictures_of_another_split_become_no_good_parts(tmp_path: Path, other: str) -> None:
    voc_split(tmp_path, "Annotations", "images", ["a.png"], ["val/b.png", "c.png"])
    (tmp_path / "val.txt").write_text("images/val/b.png\n")
    entry = {
        "images": [{"id": 1, "file_name": "val/b.png"}],
        "annotations": [],
        "categories": [{"id": 1, "name": "pit"}],
    }
    (tmp_path / "val.json").write_text(json.dumps(entry))
    paths, left, _ = index_of(tmp_path, f"train: Annotations\nval: {other}", "train")
    assert (paths, left) == (["images/a.png", "images/c.png"], [])


def test_pictures_beside_xml_whose_images_lie_elsewhere_are_named(tmp_path: Path) -> None:
    voc_split(tmp_path, "xml", "pictures", ["a.png"], ["b.png"])
    shutil.copyfile(tmp_path / "whole/a.png", tmp_path / "xml/a.png")
    paths, left, _ = index_of(tmp_path, "train: xml\nval: xml\nimages: pictures", "train")
    assert (paths, left) == (["pictures/a.png", "pictures/b.png"], ["xml/a.png"])


def test_a_folder_around_in_which_no_image_of_the_xml_lies_does_not_count(tmp_path: Path) -> None:
    voc_split(tmp_path, "voc", "voc", ["a.png"], ["b.png"])
    write_images(tmp_path / "images")  # of something else
    assert index_of(tmp_path, "train: voc\nval: voc", "train")[:2] == (["voc/a.png", "voc/b.png"], [])


def test_two_folders_of_xml_of_one_split_share_their_good_parts(tmp_path: Path) -> None:
    voc_split(tmp_path, "one", "pictures", ["a.png"], ["c.png"])
    voc_split(tmp_path, "two", "pictures", ["b.png"], [])
    paths, left, _ = index_of(tmp_path, "train: [one, two]\nval: one\nimages: {train: pictures}", "train")
    assert (paths, left) == ([f"pictures/{name}.png" for name in "abc"], [])


def test_yolo_labels_count_where_xml_lies_beside_them(tmp_path: Path, log: list[str]) -> None:
    folder = write_voc(write_images(tmp_path / "both"))
    (folder / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    index = open_index(folder, NAMES)
    assert index.formats == ["yolo"]
    assert index.classes.tolist() == [0]
    assert any("the YOLO labels are used" in message for message in log)


def test_a_split_may_mix_formats(tmp_path: Path) -> None:
    first, second = write_images(tmp_path / "1/images"), write_images(tmp_path / "2/images")
    write_yolo(tmp_path / "1/labels")
    index = open_index([write_coco(tmp_path / "2/set.json"), first], NAMES)
    assert index.formats == ["coco", "yolo"]
    assert index.paths == [str(folder / name) for folder in (first, second) for name in BOXES]
    with pytest.raises(UserError, match=r"a\.png: two parts of one split have annotations of it"):
        open_index([tmp_path / "2/set.json", second], NAMES)


# A real set in all three


def write_sets(shared: Path, folder: Path) -> dict[str, Path]:
    root = shared / "datasets/neu_det"
    names = yaml.safe_load((root / "data.yaml").read_text())["names"]
    coco = {split: f"annotations/instances_{split}.json" for split in ("train", "val")}
    contents: dict[str, dict[str, Any]] = {
        "yolo": {"train": "images/train", "val": "images/val", "names": names},
        "coco": coco,
        "mixed": {"train": coco["train"], "val": "voc_val", "images": {"val": "images/val"}, "names": names},
    }
    files = {}
    for name, content in contents.items():
        files[name] = folder / f"{name}.yaml"
        files[name].write_text(yaml.safe_dump({"path": str(root), **content}))
    return files


def test_a_real_set_is_the_same_in_three_formats(shared: Path, tmp_path: Path) -> None:
    sets = {name: load_dataset(file) for name, file in write_sets(shared, tmp_path).items()}
    assert sets["coco"]["names"] == sets["yolo"]["names"] == sets["mixed"]["names"]
    indices = {name: open_index(data["val"], data["names"], data.get("image_roots")) for name, data in sets.items()}
    assert len(indices["yolo"].boxes) > 700
    assert_same(indices["coco"], indices["yolo"])
    assert_same(indices["mixed"], indices["yolo"])


def test_a_real_set_gives_the_same_batches_and_ground_truth(shared: Path, tmp_path: Path) -> None:
    batches, truths = {}, {}
    for name, file in write_sets(shared, tmp_path).items():
        data = load_dataset(file)
        truth = labelled_images(open_dataset(data, "val").labels)
        truths[name] = coco_ground_truth(truth, data["names"])
        if name != "mixed":  # which trains on what "coco" does
            init_seeds(7, deterministic=True)
            loader = build_dataloader(open_dataset(data, mosaic=1.0, mixup=0.2), 4, 0, device="cpu")
            batches[name] = [batch for _, batch in zip(range(10), loader, strict=False)]
    assert truths["coco"] == truths["mixed"] == truths["yolo"]
    for ours, expected in zip(batches["coco"], batches["yolo"], strict=True):
        assert ours["im_file"] == expected["im_file"]
        assert all(torch.equal(ours[key], expected[key]) for key in ("img", "cls", "bboxes", "batch_idx"))


# Crowds: regions to ignore


@pytest.fixture
def crowded(tmp_path: Path) -> dict[str, Any]:
    write_images(tmp_path / "images")
    note = {"image_id": 70, "category_id": 9, "bbox": [0, 0, 30, 40], "iscrowd": 1}
    more = [{"id": 1, **note}, {"id": 2, **note, "category_id": 4}, {"id": 3, **note, "iscrowd": 0}]
    content = yaml.safe_load(write_coco(tmp_path / "set.json").read_text())
    write_coco(tmp_path / "set.json", annotations=more + content["annotations"])
    (tmp_path / "data.yaml").write_text("train: set.json\nval: set.json\nnames: [scratch, pit, stain]\n")
    return load_dataset(tmp_path / "data.yaml")


def test_crowds_are_no_objects_to_train_on(crowded: dict[str, Any]) -> None:
    dataset = open_dataset(crowded)
    label = dataset.labels[0]
    assert label["cls"].ravel().tolist() == [0, 1, 0]
    assert label["boxes_xyxy"].tolist() == [[0, 0, 30, 40], [10, 5, 30, 20], [40, 10, 60, 40]]
    assert label["ignored_cls"].ravel().tolist() == [0, 1]
    assert dataset.index.report.ignored == 2
    assert not any(key.startswith("ignored") for key in dataset[0])


@pytest.mark.parametrize(
    ("settings", "crowds"),
    [({}, [1, 2]), ({"classes": [1]}, [2]), ({"single_cls": True}, [1])],
)
def test_evaluation_takes_crowds_as_regions_to_ignore(
    crowded: dict[str, Any], settings: dict[str, Any], crowds: list[int]
) -> None:
    dataset = open_dataset(crowded, "val", **settings)
    truth = coco_ground_truth(labelled_images(dataset.labels), NAMES)
    assert [note["category_id"] for note in truth["annotations"] if note["iscrowd"]] == crowds
    assert all(note["bbox"] == [0, 0, 30, 40] for note in truth["annotations"] if note["iscrowd"])


# The dataset YAML


@pytest.mark.parametrize(
    ("text", "roots"),
    [
        ("train: set.json\nval: voc\nimages: far\n", {"set.json": "far", "voc": "far"}),
        ("train: set.json\nval: voc\nimages: {train: far}\n", {"set.json": "far"}),
        ("train: [set.json, voc]\nval: images\nimages: {train: far, val: .}\n", {"set.json": "far", "voc": "far"}),
    ],
)
def test_the_yaml_says_where_images_are(tmp_path: Path, text: str, roots: dict[str, str]) -> None:
    for folder in ("far", "voc", "images"):
        (tmp_path / folder).mkdir()
    write_coco(tmp_path / "set.json")
    (tmp_path / "data.yaml").write_text(text + "names: [scratch, pit, stain]\n")
    found = load_dataset(tmp_path / "data.yaml")["image_roots"]
    expected = {str(tmp_path / key): str(tmp_path / folder) for key, folder in roots.items()}
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: set.json\nval: set.json\nimages: gone\n", "'images: gone' does not exist"),
        ("train: set.json\nval: set.json\nimages: {training: far}\n", "'images' has 'training'"),
        ("train: set.json\nval: set.json\nimages: {train: far, val: .}\n", r"gives .*set\.json two folders"),
        ("train: set.json\nval: set.json\nimages: [far]\n", r"'images' has \['far'\] where a path belongs"),
        ("train: far\nval: far\n", "'names' is missing"),
        ("train: far\nval: far\ntest: gone.json\n", "'names' is missing, and no COCO JSON is there"),
    ],
)
def test_mistakes_in_the_yaml_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "far").mkdir()
    write_coco(tmp_path / "set.json")
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        load_dataset(tmp_path / "data.yaml")
    assert str(caught.value).startswith(str(tmp_path / "data.yaml"))


def test_names_come_from_the_json_in_the_order_of_its_ids(tmp_path: Path) -> None:
    write_coco(tmp_path / "set.json")
    (tmp_path / "data.yaml").write_text("train: set.json\nval: set.json\n")
    assert load_dataset(tmp_path / "data.yaml")["names"] == {0: "pit", 1: "scratch", 2: "stain"}
