from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from helpers.dirt import (
    BOX,
    GROUP,
    Planted,
    board,
    found,
    save,
    surface,
    write_clean,
    write_dirty,
    write_good_parts,
    write_text,
)
from moat_det.checks import duplicates
from moat_det.checks.decode import ImageFacts
from moat_det.checks.faults import KINDS, Severity
from moat_det.checks.fingerprint import fingerprint
from moat_det.checks.fix import write_fixed
from moat_det.checks.html import html_report
from moat_det.checks.report import text_report
from moat_det.checks.run import Check, check_dataset
from moat_det.checks.samples import Sample
from moat_det.data.config import load_dataset
from moat_det.data.index import open_index
from moat_det.detector.build import find_config
from moat_det.engine.model import DEFAULT_BACKBONE
from moat_det.errors import UserError


def digests(root: Path) -> dict[str, str]:
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in root.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Planted, Check]:
    file, planted = write_dirty(tmp_path_factory.mktemp("dirty"))
    return file, planted, check_dataset(file, GROUP)


def test_the_clean_set_has_no_fault(tmp_path: Path) -> None:
    check = check_dataset(write_clean(tmp_path), GROUP)
    assert not check.faults
    assert check.severity is Severity.NOTE


@pytest.mark.parametrize("write", [write_dirty, write_good_parts])
def test_what_is_planted_is_found_and_nothing_else(
    tmp_path: Path, write: Callable[[Path], tuple[Path, Planted]]
) -> None:
    file, planted = write(tmp_path)
    before = digests(tmp_path)
    assert found(file) == planted
    assert digests(tmp_path) == before


def test_every_kind_is_planted(dirty: tuple[Path, Planted, Check], tmp_path: Path) -> None:
    planted = dirty[1] + write_good_parts(tmp_path)[1]
    assert {kind for kind, _ in planted} == set(KINDS)


def test_the_documentation_names_every_kind_beside_its_severity() -> None:
    page = (Path(__file__).parents[2] / "docs/data.md").read_text(encoding="utf-8").splitlines()
    for kind in KINDS.values():
        (row,) = [line for line in page if line.startswith(f"| {kind.severity.name.lower()} | {kind.severity} |")]
        assert kind.title in row


def test_a_corrected_copy_has_only_the_error_that_needs_a_person_and_the_source_is_as_it_was(
    dirty: tuple[Path, Planted, Check], tmp_path: Path
) -> None:
    file, _, check = dirty
    before = digests(file.parent)
    assert check.severity is Severity.ERROR
    changes = write_fixed(check, tmp_path / "fixed")
    assert digests(file.parent) == before
    assert (tmp_path / "fixed/changes.txt").read_text().splitlines() == changes
    fixed = check_dataset(tmp_path / "fixed")
    assert {fault.kind for fault in fixed.faults if fault.severity is Severity.ERROR} == {"duplicates_disagree"}
    kinds = set(fixed.by_kind())
    assert not kinds & {"box_without_area", "box_past_edge", "duplicate_box", "duplicate_image", "wrong_size"}
    data = load_dataset(tmp_path / "fixed")
    for split in ("train", "val", "test"):  # and training reads it
        assert open_index(data[split], data["names"], data.get("image_roots")).report.unreadable == []


def test_of_a_picture_in_two_splits_that_of_train_is_left_out(
    dirty: tuple[Path, Planted, Check], tmp_path: Path
) -> None:
    write_fixed(dirty[2], tmp_path / "fixed")
    stems = {file.stem for file in (tmp_path / "fixed").rglob("images/*/*.*")}
    assert "part101" in stems
    assert "part038" not in stems
    # whose labels are not those of part102: which are right, a person has to say
    assert {"part102", "part039"} <= stems
    # without its one label, which is malformed, it would be a good part
    assert "part020" not in stems


@pytest.mark.parametrize("row", ["0 0.5 0.5 0 0.2", "0 1.5 1.5 0.2 0.2", "0 0.5 0.5 -0.1 0.2", "0 50 50 20 20"])
def test_an_image_whose_only_box_is_none_becomes_no_good_part_of_a_corrected_copy(row: str, tmp_path: Path) -> None:
    file = boxes_of_size(tmp_path / "set", 40)
    save(tmp_path / "set/images/train/3.png", surface(3))
    write_text(tmp_path / "set/labels/train/3.txt", f"{row}\n")
    changes = write_fixed(check_dataset(file), tmp_path / "fixed")
    assert [image.name for image in (tmp_path / "fixed/images/train").iterdir()] == ["1.png"]
    assert f"train: {tmp_path}/set/images/train/3.png: left out, none of its labels is in order" in changes


def test_images_of_a_corrected_copy_are_the_files_themselves(
    dirty: tuple[Path, Planted, Check], tmp_path: Path
) -> None:
    write_fixed(dirty[2], tmp_path / "fixed")
    sources = set(digests(dirty[0].parent).values())
    copies = [file for file in (tmp_path / "fixed/images").rglob("*") if file.is_file()]
    assert len(copies) > 60
    assert {hashlib.sha256(file.read_bytes()).hexdigest() for file in copies} <= sources


def test_nothing_is_written_where_a_split_would_be_empty(tmp_path: Path) -> None:
    file = write_clean(tmp_path / "set")
    file.write_text("train: images/val\nval: images/val\nnames: [scratch, pit, stain]\n")
    check = check_dataset(file)
    assert len(check.by_kind()["duplicate_across_splits"]) == 16
    with pytest.raises(UserError, match="nothing would be left of 'train'"):
        write_fixed(check, tmp_path / "fixed")
    assert not (tmp_path / "fixed").exists()


def test_no_copy_is_written_without_val(tmp_path: Path) -> None:
    file = write_clean(tmp_path / "set")
    (tmp_path / "set/empty").mkdir()
    file.write_text(file.read_text().replace("[images/val, voc]", "empty"))
    with pytest.raises(UserError, match=rf"^{file}: 'val' cannot be read: {tmp_path}/set/empty: "):
        write_fixed(check_dataset(file), tmp_path / "fixed")
    assert not (tmp_path / "fixed").exists()


def test_crowds_stay_in_a_corrected_copy(tmp_path: Path) -> None:
    file = write_clean(tmp_path / "set")
    json_file = tmp_path / "set/coco/set.json"
    json_file.write_text(json_file.read_text().replace('"image_id": 203', '"iscrowd": 1, "image_id": 203'))
    write_fixed(check_dataset(file), tmp_path / "fixed")
    data = load_dataset(tmp_path / "fixed")
    assert open_index(data["test"], data["names"], data["image_roots"]).ignored.sum() == 1


@pytest.mark.parametrize(
    ("train", "val", "intensity", "kinds"),
    [
        (np.uint16, np.float32, "auto", {"mixed_sample_types"}),
        (np.float32, np.uint16, "auto", {"mixed_sample_types"}),
        (np.uint8, np.float32, "auto", {"mixed_sample_types", "mixed_depths"}),  # whose full range is not known
        (np.uint8, np.uint16, "auto", {"mixed_depths"}),
        (np.uint16, np.uint16, "auto", set()),
        (np.uint16, np.float32, "image", set()),
        (np.uint16, np.float32, "[0, 255]", set()),
    ],
)
def test_splits_are_of_the_depth_of_train(
    train: type, val: type, intensity: str, kinds: set[str], tmp_path: Path
) -> None:
    file = boxes_of_size(tmp_path, 40)
    file.write_text(file.read_text() + f"intensity: {intensity}\n")
    for split, dtype in (("train", train), ("val", val)):
        (image,) = (tmp_path / "images" / split).iterdir()
        cv2.imwrite(str(image.with_suffix(".tif")), cv2.imread(str(image), cv2.IMREAD_GRAYSCALE).astype(dtype))
        image.unlink()
    found = check_dataset(file).by_kind()
    assert {kind for kind in found if kind.startswith("mixed_")} == kinds
    assert {fault.split for kind in kinds for fault in found[kind]} <= {"val"}


@pytest.mark.parametrize(
    ("given", "written"), [("", "image"), ("intensity: auto\n", "image"), ("intensity: full\n", "full")]
)
def test_intensity_is_written_with_a_word_and_the_users_own_stays(given: str, written: str, tmp_path: Path) -> None:
    file = boxes_of_size(tmp_path / "set", 40)
    file.write_text(file.read_text() + given)
    for split, dtype in (("train", np.uint16), ("val", np.float32)):
        (image,) = (tmp_path / "set/images" / split).iterdir()
        cv2.imwrite(str(image.with_suffix(".tif")), cv2.imread(str(image), cv2.IMREAD_GRAYSCALE).astype(dtype))
        image.unlink()
    changes = write_fixed(check_dataset(file), tmp_path / "fixed")
    assert load_dataset(tmp_path / "fixed")["intensity"].kind == written
    assert any("'intensity: image' written" in change for change in changes) == (written == "image")


@pytest.mark.parametrize(("intensity", "kinds"), [("[0, 255]", set()), ("auto", {"mixed_sample_types"})])
def test_a_window_serves_integers_beside_floating_samples(intensity: str, kinds: set[str], tmp_path: Path) -> None:
    file = write_clean(tmp_path)
    file.write_text(file.read_text() + f"intensity: {intensity}\n")
    for number, image in enumerate(sorted((tmp_path / "images" / "train").iterdir())):
        samples = cv2.imread(str(image), cv2.IMREAD_GRAYSCALE).astype(np.uint16 if number else np.float32)
        cv2.imwrite(str(image.with_suffix(".tif")), samples)
        image.unlink()
    assert {kind for kind in check_dataset(file).by_kind() if kind == "mixed_sample_types"} == kinds


def test_a_wrong_group_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not match"):
        check_dataset(write_clean(tmp_path), "^board")


def boxes_of_size(root: Path, side: float, image: int = 320) -> Path:
    """A set whose boxes have `side` pixels."""
    for split, seed in (("train", 1), ("val", 2)):
        save(root / f"images/{split}/{seed}.png", surface(seed, image))
        write_text(root / f"labels/{split}/{seed}.txt", f"0 0.5 0.5 {side / image} {side / image}\n")
    write_text(root / "data.yaml", "train: images/train\nval: images/val\nnames: [a]\n")
    return root / "data.yaml"


@pytest.mark.parametrize(("side", "model"), [(6, "tiny_moat2-p2"), (40, ""), (600, "tiny_moat2-p6")])
def test_levels_follow_the_boxes(tmp_path: Path, side: float, model: str) -> None:
    check = check_dataset(boxes_of_size(tmp_path, side, 640))
    options = [word for item in check.recommendations for word in item.options]
    assert [word for word in options if word.startswith("tiny_moat")] == ([model] if model else [])
    if model:  # the level is all that changes
        assert find_config(model)["backbone"] == find_config(DEFAULT_BACKBONE)["backbone"]
    assert options[options.index("--imgsz") + 1] == "640"


@pytest.mark.parametrize(("side", "size"), [(28, "640"), (11.9, "960")])
def test_the_size_leaves_small_boxes_their_pixels(tmp_path: Path, side: float, size: str) -> None:
    check = check_dataset(boxes_of_size(tmp_path, side, 1400))
    options = [word for item in check.recommendations for word in item.options]
    assert options[options.index("--imgsz") + 1] == size
    assert any(item.topic == "large images" for item in check.recommendations)


def test_strips_are_trained_as_strips(tmp_path: Path) -> None:
    file = boxes_of_size(tmp_path, 20)
    for split, seed in (("train", 1), ("val", 2)):
        save(tmp_path / f"images/{split}/{seed}.png", np.tile(surface(seed, 100), (1, 5)))
    options = check_dataset(file).recommendations[0].options
    assert options == ("--imgsz", "128", "512")


def test_rare_classes_are_pasted(tmp_path: Path) -> None:
    file = boxes_of_size(tmp_path, 20)
    (tmp_path / "labels/train/1.txt").write_text(f"0 {BOX}\n" + "".join(f"1 0.{i} 0.2 0.1 0.1\n" for i in range(1, 10)))
    file.write_text(file.read_text().replace("[a]", "[a, b]"))
    topics = {item.topic for item in check_dataset(file).recommendations}
    assert "rare classes" not in topics
    with (tmp_path / "labels/train/1.txt").open("a") as out:
        out.write("1 0.7 0.7 0.1 0.1\n")
    topics = {item.topic for item in check_dataset(file).recommendations}
    assert "rare classes" in topics


def test_the_same_picture_of_neu_det_with_different_labels(shared: Path, tmp_path: Path) -> None:
    root = shared / "datasets/neu_det"
    for split, name in (
        ("val", "patches_101"),
        ("train", "patches_105"),
        ("train", "patches_10"),
        ("val", "patches_1"),
    ):
        for folder, suffix in (("images", "jpg"), ("labels", "txt")):
            source = root / folder / split / f"{name}.{suffix}"
            if source.exists():
                target = tmp_path / folder / split / source.name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(source.read_bytes())
    (tmp_path / "data.yaml").write_text((root / "data.yaml").read_text().replace(str(root), "."))
    kinds = check_dataset(tmp_path / "data.yaml").by_kind()
    (fault,) = kinds["duplicates_disagree"]
    assert (Path(fault.file).stem, Path(fault.other or "").stem) == ("patches_105", "patches_101")
    assert not kinds.keys() & {"near_duplicate", "near_duplicate_across_splits"}


def test_boxes_of_a_picture_before_its_turn_are_told(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    for name, (width, height) in {"upright": (40, 90), "before": (90, 40), "other": (180, 80)}.items():
        (tmp_path / "set").mkdir(exist_ok=True)
        Image.fromarray(np.resize(surface(1), (40, 90))).save(tmp_path / f"set/{name}.jpg", exif=exif)
        size = f"<size><width>{width}</width><height>{height}</height></size>"
        write_text(tmp_path / f"set/{name}.xml", f"<annotation>{size}</annotation>")
    write_text(tmp_path / "data.yaml", "train: set\nval: set\nnames: [a]\n")
    faults = [
        fault for fault in check_dataset(tmp_path / "data.yaml").by_kind()["wrong_size"] if fault.split == "train"
    ]
    told = {
        Path(fault.file).stem: "boxes may be those of the picture that is not turned" in fault.detail
        for fault in faults
    }
    assert told == {"before": True, "other": False}


def test_a_strip_of_two_rows_is_checked_and_drawn(tmp_path: Path) -> None:
    file = boxes_of_size(tmp_path, 20)
    for split, seed in (("train", 1), ("val", 2)):
        save(tmp_path / f"images/{split}/{seed}.png", np.resize(surface(seed), (2, 5000)))
    check = check_dataset(file)
    assert set(check.by_kind()) == {"tiny_box"}
    assert html_report(check).count("data:image/jpeg") == 4  # each whole, and from near


def test_a_name_with_a_line_end_is_one_line(tmp_path: Path) -> None:
    file = boxes_of_size(tmp_path / "set", 40)
    write_text(tmp_path / "set/images/train/2\n3.png", "no image")
    check = check_dataset(file)
    assert "images/train/2?3.png" in text_report(check)
    changes = write_fixed(check, tmp_path / "fixed")
    assert (tmp_path / "fixed/changes.txt").read_text().splitlines() == changes


def test_arrays_stay_readable_in_a_corrected_copy(tmp_path: Path) -> None:
    for split, seed in (("train", 1), ("val", 2)):
        write_text(tmp_path / f"set/labels/{split}/{seed}.txt", f"0 {BOX}\n")
        (tmp_path / f"set/images/{split}").mkdir(parents=True)
        np.save(tmp_path / f"set/images/{split}/{seed}.npy", np.dstack([surface(seed)] * 5))
        write_text(tmp_path / f"set/{split}.txt", f"images/{split}/{seed}.npy\n")
    write_text(tmp_path / "set/data.yaml", "train: train.txt\nval: val.txt\nnames: [a]\nchannels: 5\n")
    write_fixed(check_dataset(tmp_path / "set"), tmp_path / "fixed")
    assert check_dataset(tmp_path / "fixed").counts["train"].tolist() == [1]


def test_what_is_compared_on_a_line_of_one_layout_does_not_grow_with_the_square(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def sample(name: str, picture: np.ndarray) -> Sample:
        detail = fingerprint(picture.astype(np.float32))
        facts = ImageFacts(height=120, width=120, channels=1, dtype="uint8", digest=name, detail=detail)
        return Sample("train", name, None, facts=facts)

    samples = [sample(str(number), board(number, spot=False)) for number in range(300)]
    copy = np.clip(board(7, spot=False) * 0.9 + 10, 0, 255).astype(np.uint8)
    samples.append(sample("copy", copy))
    confirmed = []
    confirm = duplicates._confirm
    monkeypatch.setattr(duplicates, "_confirm", lambda *pair: confirmed.append(pair) or confirm(*pair))
    assert [(a.image, b.image) for a, b, _ in duplicates.near_pairs(samples)] == [("7", "copy")]
    assert len(confirmed) < len(samples)  # of 45,150 pairs, all of them alike
