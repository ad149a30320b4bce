from __future__ import annotations

from pathlib import Path

import pytest

from moat_det.data.config import load_dataset
from moat_det.data.images.intensity import Intensity
from moat_det.errors import UserError

SPLITS = "train: images/train\nval: images/val\n"
NAMES = "names: [scratch, pit]\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "defects"
    for split in ("train", "val", "test"):
        (root / "images" / split).mkdir(parents=True)
    return root


def write(root: Path, text: str | bytes, name: str = "data.yaml") -> Path:
    file = root / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def test_paths_are_absolute_and_only_given_splits_appear(root: Path) -> None:
    file = write(root, SPLITS + NAMES)
    assert load_dataset(file) == {
        "path": str(root),
        "train": str(root / "images/train"),
        "val": str(root / "images/val"),
        "names": {0: "scratch", 1: "pit"},
        "nc": 2,
        "channels": 3,
        "intensity": Intensity("auto"),
        "yaml_file": str(file),
    }


@pytest.mark.parametrize(
    "text",
    [
        f"{SPLITS}names: {{0: scratch, 1: pit}}",
        f"{SPLITS}names: {{1: pit, 0: scratch}}",
        f"{SPLITS}names: {{'0': scratch, '1': ' pit '}}",
        f"{SPLITS}{NAMES}nc: 2\nchannels: 3",
        f"{SPLITS}{NAMES}nc: '2'",
        f"path: .\n{SPLITS}{NAMES}",
        f"train: images/train\nvalidation: images/val\n{NAMES}",
        f"train: ../images/train\nval: ../images/val\n{NAMES}",
        f"train: images\\train\nval: ..\\images\\val\n{NAMES}",
        f"path: images\\..\n{SPLITS}{NAMES}",
        f"\ufeff{SPLITS}{NAMES}".replace("\n", "\r\n"),
        f"{SPLITS}{NAMES}test:\nroboflow: {{licence: none}}",
    ],
)
def test_spellings_of_the_same_set(root: Path, text: str) -> None:
    data = load_dataset(write(root, text))
    assert data["names"] == {0: "scratch", 1: "pit"}
    assert list(data["names"]) == [0, 1]
    assert (data["train"], data["val"]) == (str(root / "images/train"), str(root / "images/val"))
    assert "test" not in data


def test_a_split_may_be_a_list(root: Path) -> None:
    data = load_dataset(write(root, f"train: [images/train, images/test]\nval: images/val\n{NAMES}"))
    assert data["train"] == [str(root / "images/train"), str(root / "images/test")]


def test_path_is_relative_to_the_yaml_then_to_the_current_folder(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "configs"
    elsewhere.mkdir()
    file = write(elsewhere, f"path: defects\n{SPLITS}{NAMES}")
    monkeypatch.chdir(tmp_path)
    assert load_dataset("configs/data.yaml")["path"] == str(root)
    for split in ("train", "val"):
        (elsewhere / "defects/images" / split).mkdir(parents=True)
    assert load_dataset(file)["path"] == str(elsewhere / "defects")


def test_a_folder_stands_for_the_yaml_in_it(root: Path) -> None:
    file = write(root, SPLITS + NAMES, "defects.yml")
    assert load_dataset(root)["yaml_file"] == str(file)
    write(root, SPLITS + NAMES, "other.yaml")
    with pytest.raises(UserError, match=r"2 YAML files .* defects\.yml, other\.yaml"):
        load_dataset(root)
    file = write(root, SPLITS + NAMES)
    assert load_dataset(root)["yaml_file"] == str(file)


def test_only_the_split_asked_for_must_exist(root: Path) -> None:
    file = write(root, f"train: gone\nval: images/val\ntest: gone too\n{NAMES}")
    assert load_dataset(file, "val")["val"] == str(root / "images/val")
    with pytest.raises(UserError, match="'train: gone' does not exist"):
        load_dataset(file)
    with pytest.raises(UserError, match="'test: gone too' does not exist"):
        load_dataset(file, "test")


def test_download_is_neither_run_nor_fetched(root: Path, log: list[str]) -> None:
    trap = root / "trap"
    file = write(root, f"{SPLITS}{NAMES}download: |\n  open({str(trap)!r}, 'w')\n")
    load_dataset(file)
    assert any("'download' is ignored" in message for message in log)
    file = write(root, f"train: gone\nval: gone\n{NAMES}download: |\n  open({str(trap)!r}, 'w')\n")
    with pytest.raises(UserError, match="does not exist"):
        load_dataset(file)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("text", "split", "message"),
    [
        ("", None, "not a dataset YAML"),
        ("- train\n- val\n", None, "not a dataset YAML"),
        ("just words", None, "not a dataset YAML"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", None, "not a text file"),
        (b"train: \x00", None, "not a text file"),
        ("train: a\nval: [b\nnames: [c]\n", None, "line 3: broken YAML"),
        ("train: a\n\tval: b\n", None, "line 2: broken YAML"),
        ("train: !!python/object:os.system x\n", None, "line 1: broken YAML"),
        (f"{SPLITS}val: images/train\n{NAMES}", None, "line 3: broken YAML: the key 'val' is given twice"),
        (
            f"{SPLITS}names:\n  0: a\n  1: b\n  1: c\n",
            None,
            "line 6: broken YAML: the key '1' is given twice",
        ),
        (f"val: images/val\n{NAMES}", None, "'train' is missing"),
        (f"train: images/train\n{NAMES}", None, "'val' is missing"),
        (f"train:\nval: images/val\n{NAMES}", None, "'train' is missing or empty"),
        (SPLITS, None, "'names' is missing"),
        (f"{SPLITS}nmaes: [a]", None, "did you mean 'nmaes'"),
        (f"{SPLITS}names:", None, "'names' is missing or empty"),
        (f"{SPLITS}names: []", None, "'names' is missing or empty"),
        (f"{SPLITS}names: scratch", None, "'names' is 'scratch'; write a list"),
        (f"{SPLITS}names: 2", None, "'names' is 2; write a list"),
        (f"{SPLITS}names: {{0: a, 2: b}}", None, "no id 1"),
        (f"{SPLITS}names: {{1: a, 2: b}}", None, "no id 0"),
        (f"{SPLITS}names: {{0: a, '0': b}}", None, "the key '0' is given twice"),
        (f"{SPLITS}names: {{0: a, '00': b}}", None, "id 0 twice"),
        (f"{SPLITS}names: {{scratch: 0}}", None, "id 'scratch'"),
        (f"{SPLITS}names: {{-1: a}}", None, "id -1"),
        (f"{SPLITS}names: [a, b, a]", None, "'a' as class 0 and as class 2"),
        (f"{SPLITS}names: [a, no]", None, "False as class 1; write a name, in quotes"),
        (f"{SPLITS}names: [a, '']", None, "'' as class 1"),
        (f"{SPLITS}names: [a, ]\nnc: 3", None, "'nc: 3' but 1 names"),
        (f"{SPLITS}{NAMES}nc: many", None, "'nc: many' but 2 names"),
        (f"{SPLITS}{NAMES}intensity: 12 bit", None, "'intensity: 12 bit' is none of auto, image, full"),
        (f"{SPLITS}{NAMES}intensity: [4095, 0]", None, "write 'intensity: \\[0, 4095\\]', for example"),
        (f"{SPLITS}{NAMES}channels: 0", None, "'channels: 0' is no whole number from 1 to 128"),
        (f"{SPLITS}{NAMES}channels: [4]", None, "is no whole number from 1 to 128"),
        (f"{SPLITS}{NAMES}channels: 2.5", None, "write the number of bands, or remove it"),
        (f"path: gone\n{SPLITS}{NAMES}", None, "'path: gone' does not exist"),
        (f"path: [a]\n{SPLITS}{NAMES}", None, "is no path"),
        (f"train: gone\nval: images/val\n{NAMES}", None, "'train: gone' does not exist"),
        (f"train: images/train\nval: [images/val, gone]\n{NAMES}", None, "'val: gone' does not exist"),
        (f"train: 0\nval: images/val\n{NAMES}", None, "'train' has 0 where a path belongs"),
        (f"train: [images/train, 3]\nval: images/val\n{NAMES}", None, "'train' has 3 where a path belongs"),
        (f"{SPLITS}{NAMES}", "test", "no split 'test'"),
        (f"{SPLITS}{NAMES}", "trian", "no split 'trian' .* use one of train, val"),
    ],
)
def test_each_mistake_ends_in_one_line_that_names_the_file(
    root: Path, text: str | bytes, split: str | None, message: str
) -> None:
    file = write(root, text)
    with pytest.raises(UserError, match=message) as caught:
        load_dataset(file, split)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("dtaa.yaml", "did you mean 'data.yaml'"),
        ("zzz", "that folder has data.yaml"),
        ("gone/data.yaml", "no folder .*gone"),
        ("images", "no dataset YAML in this folder"),
    ],
)
def test_a_missing_yaml_is_named_with_the_nearest(root: Path, source: str, message: str) -> None:
    write(root, SPLITS + NAMES)
    with pytest.raises(UserError, match=message) as caught:
        load_dataset(root / source)
    assert "\n" not in str(caught.value)
