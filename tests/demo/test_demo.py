"""The demo set: right to the pixel, the same every time, whole or not there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from moat_det.data.config import load_dataset
from moat_det.demo import NAMES, SURFACES, dataset_source, demo_dataset, draw_part, generate, generate_demo
from moat_det.demo.part import CLEAR, GAP, SMALLEST, VISIBLE
from moat_det.errors import UserError

REPO = Path(__file__).resolve().parents[2]
SIZES = [(224, 224), (256, 2048), (97, 131), (64, 64), (448, 161)]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_boxes_are_the_bounds_of_what_changed(surface: str, size: tuple[int, int], scale: float) -> None:
    for seed in range(4):
        image, boxes, classes = draw_part(np.random.default_rng(seed), size, surface, defect_scale=scale)
        good, none, _ = draw_part(np.random.default_rng(seed), size, surface, defective=False)
        assert image.shape == good.shape == (*size, 3)
        assert image.dtype == np.uint8
        assert none.shape == (0, 4)
        assert 1 <= len(boxes) == len(classes) <= 4
        change = np.abs(image.astype(int) - good).max(2)
        assert set(np.unique(change[change > 0])) <= set(range(VISIBLE, 256))
        for x1, y1, x2, y2 in boxes:
            assert 0 <= x1 < x2 <= size[1]
            assert 0 <= y1 < y2 <= size[0]
            inside = change[y1:y2, x1:x2]
            for side in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                assert side.any()
            assert inside[inside > 0].mean() >= CLEAR
            assert min(inside.shape) >= SMALLEST
            change[y1:y2, x1:x2] = 0
        assert not change.any()


def test_defects_lie_apart_and_where_they_belong() -> None:
    seen: dict[str, set[str]] = {surface: set() for surface in SURFACES}
    for surface in SURFACES:
        for seed in range(40):
            _, boxes, classes = draw_part(np.random.default_rng(seed), (224, 224), surface)
            seen[surface] |= {NAMES[c] for c in classes}
            for i, a in enumerate(boxes):
                for b in boxes[:i]:
                    assert (np.maximum(a, b)[:2] - np.minimum(a, b)[2:]).max() >= GAP
    assert seen == {
        "metal": {"scratch", "pit", "stain"},
        "cast": {"scratch", "pit", "stain"},
        "board": {"scratch", "missing_pad"},
    }


@pytest.mark.parametrize("surface", ["metal", "cast"])
def test_a_larger_image_shows_more_at_the_same_scale(surface: str) -> None:
    """The correlation of neighbours 8 px apart, without the lighting, does not depend on the image's size."""

    def correlation(size: tuple[int, int]) -> float:
        image, _, _ = draw_part(np.random.default_rng(1), size, surface, defective=False)
        gray = image[..., 0].astype(np.float32)
        gray -= cv2.GaussianBlur(gray, (0, 0), 20)
        return float(np.corrcoef(gray[:-8, :-8].ravel(), gray[8:, 8:].ravel())[0, 1])

    assert correlation((192, 192)) == pytest.approx(correlation((768, 768)), abs=0.08)


def test_the_set_is_the_same_for_a_seed_and_another_for_another(tmp_path: Path) -> None:
    np.random.seed(5)
    first = contents(generate_demo(tmp_path / "a", 5, 3, (96, 128), seed=3).parent)
    assert np.random.random() == np.random.RandomState(5).random()  # the global state is not touched
    second = contents(generate_demo(tmp_path / "b", 5, 3, (96, 128), seed=3).parent)
    other = contents(generate_demo(tmp_path / "c", 5, 3, (96, 128), seed=4).parent)
    more = contents(generate_demo(tmp_path / "d", 8, 4, (96, 128), seed=3).parent)
    images = [name for name in first if name.endswith(".png")]
    assert len(images) == 8
    assert len({first[name] for name in images}) == 8
    assert all(first[name] == second[name] == more[name] for name in first if name.endswith((".png", ".txt")))
    assert all(first[name] != other[name] for name in images)


def test_yolo_coco_and_images_agree(tmp_path: Path) -> None:
    height, width = 256, 600
    data = generate_demo(tmp_path / "demo", 13, 4, (height, width), seed=1)
    described = yaml.safe_load(data.read_text())
    assert described["path"] == str(tmp_path / "demo")
    assert described["names"] == dict(enumerate(NAMES))
    for split, count in (("train", 13), ("val", 4)):
        coco = json.loads((data.parent / f"annotations/instances_{split}.json").read_text())
        folder = data.parent / described[split]
        assert [i["file_name"] for i in coco["images"]] == sorted(p.name for p in folder.iterdir())
        assert [i["id"] for i in coco["images"]] == list(range(1, count + 1))
        assert [a["id"] for a in coco["annotations"]] == list(range(1, len(coco["annotations"]) + 1))
        assert {c["id"] - 1: c["name"] for c in coco["categories"]} == described["names"]
        for entry in coco["images"]:
            image = cv2.imread(str(folder / entry["file_name"]), cv2.IMREAD_UNCHANGED)
            assert image is not None
            assert image.shape == (entry["height"], entry["width"], 3) == (height, width, 3)
            label = data.parent / "labels" / split / f"{Path(entry['file_name']).stem}.txt"
            rows = np.array([line.split() for line in label.read_text().splitlines()], float).reshape(-1, 5)
            own = [a for a in coco["annotations"] if a["image_id"] == entry["id"]]
            boxes = np.array([a["bbox"] for a in own], float).reshape(-1, 4)
            assert rows[:, 0].tolist() == [a["category_id"] - 1 for a in own]
            whole = rows[:, 1:] * [width, height, width, height]
            whole[:, :2] -= whole[:, 2:] / 2
            assert np.abs(whole - boxes).max(initial=0) < 0.01
            assert all(a["area"] == a["bbox"][2] * a["bbox"][3] for a in own)


def test_a_quarter_of_the_parts_is_good_on_every_surface(tmp_path: Path) -> None:
    data = generate_demo(tmp_path / "demo", 24, 12, (64, 64))
    for split, count in (("train", 24), ("val", 12)):
        empty = [int(p.stem) for p in (data.parent / "labels" / split).iterdir() if not p.read_text()]
        assert len(empty) == count // 4
        assert {i % len(SURFACES) for i in empty} == set(range(len(SURFACES)))


def test_the_word_demo_stands_for_the_generated_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = generate_demo(tmp_path / "demo", 1, 1, (64, 64))
    monkeypatch.setattr(generate, "demo_dataset", lambda: file)
    assert load_dataset(dataset_source("demo"))["yaml_file"] == str(file)
    assert dataset_source("my/data.yaml") == "my/data.yaml"


def test_an_interruption_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = generate.draw_part
    calls = []

    def interrupted(*args: object) -> object:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return drawn(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(generate, "draw_part", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate_demo(tmp_path / "demo", 3, 2, (64, 64))
    assert len(calls) == 3
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert generate_demo(tmp_path / "demo", 3, 2, (64, 64)).is_file()
    assert [p.name for p in tmp_path.iterdir()] == ["demo"]


def test_the_same_set_is_reused_and_another_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "demo"
    out.mkdir()  # an empty folder is no obstacle
    data = generate_demo(out, 3, 2, (64, 64))
    before = contents(out)
    monkeypatch.setattr(generate, "write_set", lambda *_: pytest.fail("drawn again"))
    assert generate_demo(out, 3, 2, (64, 64)) == data
    others: list[dict[str, Any]] = [{"seed": 1}, {"size": (64, 96)}, {"train": 4}, {"defect_scale": 2.0}]
    for other in others:
        with pytest.raises(UserError, match="is not this demo set"):
            generate_demo(out, **{"train": 3, "val": 2, "size": (64, 64), **other})
    assert contents(out) == before
    (out / "images/val/000001.png").unlink()
    with pytest.raises(UserError, match="is not this demo set"):
        generate_demo(out, 3, 2, (64, 64))


def test_a_moved_set_finds_itself_and_edits_stay(tmp_path: Path) -> None:
    generate_demo(tmp_path / "old", 3, 2, (64, 64))
    shutil.move(tmp_path / "old", tmp_path / "new")
    data = generate_demo(tmp_path / "new", 3, 2, (64, 64))
    assert yaml.safe_load(data.read_text())["path"] == str(tmp_path / "new")
    data.write_text(edited := data.read_text().replace("images/val", "images/train"))
    generate_demo(tmp_path / "new", 3, 2, (64, 64))
    assert data.read_text() == edited


@pytest.mark.parametrize("is_file", [True, False])
def test_what_is_not_ours_stays_unharmed(tmp_path: Path, is_file: bool) -> None:
    out = tmp_path / "mine"
    mine = out if is_file else out / "data.yaml"
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("names: [mine]")
    with pytest.raises(UserError, match="is not this demo set"):
        generate_demo(out, 3, 2, (64, 64))
    assert mine.read_text() == "names: [mine]"
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 1


def test_data_demo_lies_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = generate.generate_demo
    monkeypatch.setattr(generate, "generate_demo", lambda out: small(out, 2, 1, (64, 64)))
    monkeypatch.setenv("MOAT_DET_CACHE", str(tmp_path / "cache"))
    data = demo_dataset()
    assert data.parent.parent == tmp_path / "cache"
    assert str(data.parent) in capsys.readouterr().err
    assert demo_dataset(tmp_path / "other").parent.parent == tmp_path / "other"
    monkeypatch.delenv("MOAT_DET_CACHE")
    monkeypatch.setattr(generate.Path, "home", lambda: tmp_path / "home")
    monkeypatch.setattr(generate.sys, "platform", "linux")
    assert generate.user_cache() == tmp_path / "home" / ".cache" / "moat_det"


def test_the_command_line(tmp_path: Path) -> None:
    def run(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "moat_det", "demo", "--out", str(tmp_path / "demo"), *args]
        return subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(REPO)}, check=False)

    made = run("--train", "3", "--val", "2", "--size", "64", "100")
    assert made.returncode == 0
    assert made.stdout.strip() == str(tmp_path / "demo" / "data.yaml")
    for args, word in (
        (("--seed", "7"), "is not this demo set"),
        (("--size", "32", "64"), "32 x 64"),
        (("--train", "0"), "train is 0"),
        (("--seed", "-1"), "seed is -1"),
        (("--defect-scale", "0"), "defect_scale is 0"),
    ):
        refused = run(*args)
        assert refused.returncode == 2
        assert word in refused.stderr
        assert len(refused.stderr.splitlines()) == 1


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the demo set"):
        generate_demo(tmp_path / "file" / "demo", 2, 1, (64, 64))
