from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.annotation_files import BOXES, NAMES, coco, write_coco, write_images, write_voc, write_yolo
from helpers.dataset_files import noise
from moat_det.checks.fix import write_fixed
from moat_det.checks.run import check_dataset
from moat_det.data.config import load_dataset
from moat_det.data.convert import convert
from moat_det.data.groups import choose_train
from moat_det.data.index import open_index
from moat_det.errors import UserError


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    images = write_images(tmp_path / "set/images")
    write_yolo(tmp_path / "set/labels")
    return {
        "yolo": images,
        "coco": write_coco(tmp_path / "set/set.json"),
        "voc": write_voc(tmp_path / "set/Annotations"),
    }


@pytest.mark.parametrize("target", ["yolo", "coco"])
@pytest.mark.parametrize("kind", ["yolo", "coco", "voc"])
def test_a_converted_set_has_the_same_index(
    sources: dict[str, Path], tmp_path: Path, kind: str, target: str, log: list[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "set").rglob("*")}
    names = None if kind == "coco" else list(NAMES.values())
    file = convert(sources[kind], kind, target, tmp_path / "new", names=names)
    assert any("has no 'val'" in message for message in log)
    file.write_text(file.read_text().replace("train:", "val: images/train\ntrain:", 1))
    data = load_dataset(file)
    index = open_index(data["train"], NAMES, data.get("image_roots"))
    expected = open_index(sources["yolo"], NAMES)
    assert index.formats == [target]
    assert sorted(data["names"].values()) == sorted(NAMES.values())
    assert [Path(path).name for path in index.paths] == list(BOXES)
    assert index.starts.tolist() == expected.starts.tolist()
    np.testing.assert_allclose(index.boxes, expected.boxes, atol=1e-6)
    found, wanted = (
        [names[cls] for cls in classes]
        for names, classes in (
            (data["names"], open_index(data["train"], data["names"]).classes),
            (NAMES, expected.classes),
        )
    )
    assert found == wanted
    for path in index.paths:
        assert Path(path).read_bytes() == (sources["yolo"] / Path(path).name).read_bytes()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "set").rglob("*")} == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_splits_of_a_yaml_stay_or_are_made_anew(sources: dict[str, Path], tmp_path: Path) -> None:
    others = write_images(tmp_path / "set/others")
    (tmp_path / "set/data.yaml").write_text(f"train: images\nval: others\nnames: {list(NAMES.values())}\n")
    data = load_dataset(convert(tmp_path / "set/data.yaml", "yolo", "coco", tmp_path / "same"))
    assert [len(open_index(data[split], NAMES).boxes) for split in ("train", "val")] == [3, 0]
    data = load_dataset(convert(tmp_path / "set/data.yaml", "yolo", "yolo", tmp_path / "new", train_share=0.5))
    sizes = [len(open_index(data[split], NAMES).paths) for split in ("train", "val")]
    assert sizes == [3, 3]
    assert len(list(others.iterdir())) == 3


@pytest.mark.parametrize(
    "given", ["channels: 5\n", "intensity: [0, 4095]\n", "channels: 5\nintensity: [[0, 9], [1, 9]]\n"]
)
@pytest.mark.parametrize("target", ["yolo", "coco"])
def test_a_converted_set_is_read_as_its_source(tmp_path: Path, log: list[str], target: str, given: str) -> None:
    for split in ("train", "val"):
        page = np.full((40, 60), 2000, np.uint16)
        (tmp_path / f"set/images/{split}").mkdir(parents=True)
        assert cv2.imwritemulti(str(tmp_path / f"set/images/{split}/a.tif"), [page] * (5 if "channels" in given else 1))
    (tmp_path / "set/data.yaml").write_text(
        f"train: images/train\nval: images/val\nnames: [a]\nkpt_shape: [2, 3]\n{given}"
    )
    source = load_dataset(tmp_path / "set/data.yaml")
    made = load_dataset(convert(tmp_path / "set/data.yaml", "yolo", target, tmp_path / "new"))
    assert (made["channels"], made["intensity"]) == (source["channels"], source["intensity"])
    assert "keypoints" not in made  # the labels that were written have none
    assert not [message for message in log if "several pictures" in message]


def test_crowds_stay_in_coco_and_are_said_to_be_lost_in_yolo(
    sources: dict[str, Path], tmp_path: Path, log: list[str]
) -> None:
    content = coco()
    content["annotations"][0]["iscrowd"] = 1
    write_coco(sources["coco"], **content)
    convert(sources["coco"], "coco", "coco", tmp_path / "coco")
    notes = json.loads((tmp_path / "coco/annotations/instances_train.json").read_text())["annotations"]
    assert [note["iscrowd"] for note in notes] == [1, 0, 0]
    convert(sources["coco"], "coco", "yolo", tmp_path / "yolo")
    assert len((tmp_path / "yolo/labels/train/a.txt").read_text().splitlines()) == 1
    assert any("1 crowd regions are left out" in message for message in log)


def test_images_of_one_name_keep_their_folders(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        write_images(tmp_path / "set/images" / folder)
        write_yolo(tmp_path / "set/labels" / folder)
    convert(tmp_path / "set/images", "yolo", "yolo", tmp_path / "new", names=list(NAMES.values()))
    labels = tmp_path / "new/labels/train"
    assert sorted(str(path.relative_to(labels)) for path in labels.rglob("*.txt")) == sorted(
        f"{folder}/{Path(name).stem}.txt" for folder in "xy" for name in BOXES
    )


@pytest.mark.parametrize("target", ["yolo", "coco"])
def test_names_that_differ_in_case_alone_are_one_on_some_disks(tmp_path: Path, target: str) -> None:
    names = list(NAMES.values())
    for seed, name in enumerate(("x/A.png", "y/a.png")):
        (tmp_path / "set" / name).parent.mkdir(parents=True)
        noise(seed=seed).save(tmp_path / "set" / name)
    convert(tmp_path / "set", "yolo", target, tmp_path / "new", names=names)
    made = tmp_path / "new/images/train"
    assert sorted(path.relative_to(made).as_posix() for path in made.rglob("*.png")) == ["x/A.png", "y/a.png"]
    noise(seed=2).save(tmp_path / "set/x/a.png")
    if len(list((tmp_path / "set/x").iterdir())) == 2:  # on this disk they are two
        with pytest.raises(UserError, match="takes upper and lower case for one, as on Windows and macOS"):
            convert(tmp_path / "set", "yolo", target, tmp_path / "again", names=names)
        assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("name", ["images", "Images"])
def test_labels_lie_where_they_are_read_whatever_folders_are_called(tmp_path: Path, name: str) -> None:
    rows = {"cam1": "0 0.5 0.5 0.2 0.2\n", "cam2": "1 0.3 0.3 0.4 0.4\n", "other": ""}
    for seed, (folder, text) in enumerate(rows.items()):
        for place in (name, {"images": "labels", "Images": "Labels"}[name]):
            (tmp_path / "set" / folder / place).mkdir(parents=True)
        noise(seed=seed).save(tmp_path / "set" / folder / name / "0001.png")
        (tmp_path / "set" / folder / place / "0001.txt").write_text(text)
    yaml = tmp_path / "set/data.yaml"
    yaml.write_text(f"train: [cam1/{name}, cam2/{name}]\nval: other/{name}\nnames: [scratch, pit]\n")
    expected = open_index(load_dataset(yaml)["train"], NAMES)
    assert expected.classes.tolist() == [0, 1]
    write_fixed(check_dataset(yaml), tmp_path / "fixed")
    for made in (convert(yaml, "yolo", "yolo", tmp_path / "new"), tmp_path / "fixed/data.yaml"):
        index = open_index(load_dataset(made)["train"], NAMES)
        assert index.classes.tolist() == [0, 1]
        np.testing.assert_allclose(index.boxes, expected.boxes, atol=1e-6)
        assert not index.report.unused


def test_spaces_around_names_are_none_of_theirs(sources: dict[str, Path], tmp_path: Path) -> None:
    convert(sources["yolo"], "yolo", "coco", tmp_path / "new", names=[f" {name} " for name in NAMES.values()])
    written = json.loads((tmp_path / "new" / "annotations" / "instances_train.json").read_text())
    assert [category["name"] for category in written["categories"]] == list(NAMES.values())


def test_names_of_xml_are_those_that_occur(sources: dict[str, Path], tmp_path: Path) -> None:
    file = convert(sources["voc"], "voc", "coco", tmp_path / "new")
    assert "0: pit\n  1: scratch\n  2: stain\n" in file.read_text()


def test_mistakes_end_in_a_line_and_leave_nothing(sources: dict[str, Path], tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").write_text("")
    new = tmp_path / "new"
    names = list(NAMES.values())
    (sources["yolo"] / "a.bmp").write_bytes((sources["yolo"] / "a.png").read_bytes())
    for arguments, more, message in [
        ((sources["coco"], "coco", "yolo", full), {}, "full: exists and is not empty"),
        ((sources["coco"], "coco", "yolo", full / "mine"), {}, "mine: exists and is not empty"),
        ((sources["coco"], "coco", "yolo", sources["yolo"] / "new"), {}, "lies within the images of the source"),
        ((sources["coco"], "yolo", "coco", new), {"names": names}, "is coco, not yolo; correct --from"),
        ((sources["voc"], "yolo", "coco", new), {"names": names}, "is voc, not yolo"),
        ((sources["yolo"], "yolo", "coco", new), {}, "give them as --names"),
        ((tmp_path / "gone", "voc", "coco", new), {}, "gone: does not exist"),
        ((sources["coco"], "coco", "yolo", new), {"train_share": 1.0}, "--split 1.0"),
        ((sources["coco"], "coco", "yolo", new), {"train_share": 0.5, "group": "("}, "no regular expression"),
        ((sources["coco"], "coco", "yolo", new), {"train_share": 0.5, "group": "^a"}, "does not match b.png"),
        ((sources["coco"], "coco", "yolo", new), {"train_share": 0.5, "group": r"\."}, "are one group"),
        ((sources["yolo"], "yolo", "yolo", new), {"names": names}, "in the same file as those of .* Windows"),
        ((sources["voc"], "voc", "coco", new), {"names": ["pit", "pit "]}, "--names: 'pit' is there twice"),
        ((sources["yolo"], "yolo", "coco", new), {"names": names, "images": full}, "full: with --from yolo the images"),
    ]:
        with pytest.raises(UserError, match=message) as caught:
            convert(*arguments, **more)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "set"]
    assert [path.name for path in full.iterdir()] == ["mine"]


def test_a_set_that_cannot_be_written_is_not_there_in_part(
    sources: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: str, target: Path) -> None:
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(UserError, match=r"cannot be written .*No space left"):
        convert(sources["coco"], "coco", "yolo", tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@settings(deadline=None, max_examples=80)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=12),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 1000),
)
def test_a_group_is_never_split(sizes: list[int], share: float, seed: int) -> None:
    names = [f"board{group}_{number}.png" for group, size in enumerate(sizes) for number in range(size)]
    chosen = choose_train(names, share, r"^(board\d+)_", seed)
    sides = {name.partition("_")[0]: set() for name in names}
    for name, train in zip(names, chosen, strict=True):
        sides[name.partition("_")[0]].add(train)
    assert all(len(side) == 1 for side in sides.values())
    assert 0 < sum(chosen) < len(names)
    assert abs(sum(chosen) - share * len(names)) <= max(sizes)
    assert chosen == choose_train(names, share, r"^(board\d+)_", seed)
    backwards = choose_train(names[::-1], share, r"^(board\d+)_", seed)
    assert backwards == chosen[::-1]


def test_another_seed_is_another_split() -> None:
    names = [f"{i}.png" for i in range(40)]
    splits = [choose_train(names, 0.8, seed=seed) for seed in range(4)]
    assert [sum(split) for split in splits] == [32] * 4
    assert len({tuple(split) for split in splits}) == 4
