from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from moat_det.data.config import load_dataset
from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.data.index import open_index
from moat_det.demo import generate_demo
from tools.find_spoilt_labels import main as find
from tools.spoil_labels import main as spoil_dataset
from tools.spoil_labels import spoil


def images() -> list[LabelledImage]:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 150, (40, 5, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(10, 40, (40, 5, 2))], axis=2)
    return [LabelledImage(f"{k}.png", 200, 200, rng.integers(0, 3, 5), of_image) for k, of_image in enumerate(boxes)]


def test_each_kind_of_wrong_label() -> None:
    before = images()
    after, log = spoil(before, 0.3, 3, np.random.default_rng(1))
    assert len(log) == 60
    kinds = {kind: [entry for entry in log if entry["kind"] == kind] for kind in ("removed", "moved", "swapped")}
    assert min(map(len, kinds.values())) >= 5
    assert sum(len(image.classes) for image in after) == 200 - len(kinds["removed"])
    for entry in kinds["moved"]:
        old, new = (np.array(entry[key]) for key in ("bbox", "new_bbox"))
        shared = np.prod(np.clip(old[2:] - np.abs(old[:2] - new[:2]), 0, None))
        assert shared / (2 * np.prod(old[2:]) - shared) < 0.46
        assert (new[:2] >= 0).all()
        assert (new[:2] + new[2:] <= 200.001).all()
    assert all(entry["new_class"] != entry["class"] for entry in kinds["swapped"])
    assert all(image.boxes.shape == (5, 4) for image in before)
    again = spoil(images(), 0.3, 3, np.random.default_rng(1))[1]
    assert again == log
    assert {entry["kind"] for entry in spoil(before, 1, 1, np.random.default_rng(0))[1]} == {"removed", "moved"}


def test_what_was_spoilt_is_counted(tmp_path: Path, capsys: Any) -> None:
    data = generate_demo(tmp_path / "set", train=4, val=4, size=(64, 64))
    out = tmp_path / "spoilt"
    assert spoil_dataset(["--data", str(data), "--out", str(out), "--share", "0.5"]) == 0
    log = json.loads((out / "spoilt.json").read_text())
    config = load_dataset(out / "data.yaml")
    labels = sum(len(open_index(config[split], config["names"]).classes) for split in ("train", "val"))
    original = load_dataset(data)
    known = sum(len(open_index(original[split], original["names"]).classes) for split in ("train", "val"))
    assert labels == known - sum(entry["kind"] == "removed" for entry in log)
    right = {"file_name": log[0]["file_name"], "bbox": log[0]["bbox"], "other_bbox": None}
    wrong = {"file_name": "elsewhere.png", "bbox": log[0]["bbox"], "other_bbox": None}
    (tmp_path / "found.json").write_text(json.dumps({"labels": [right, wrong, wrong]}))
    words = ["--suspicions", str(tmp_path / "found.json"), "--spoilt", str(out / "spoilt.json"), "--top", "2"]
    capsys.readouterr()
    assert find(words) == 0
    assert capsys.readouterr().out.startswith("first 2: 1 right (50%)")
    # Of a run that looked at one split, in which bare names are enough.
    split, name = log[0]["file_name"].split("/")
    (tmp_path / "found.json").write_text(json.dumps({"labels": [{**right, "file_name": name}, wrong]}))
    assert find(words) == 2
    assert f"{name}: may be" in capsys.readouterr().err
    for chosen, count in ((split, 1), ({"train": "val", "val": "train"}[split], 0)):
        assert find([*words, "--split", chosen]) == 0
        assert capsys.readouterr().out.startswith(f"first 2: {count} right")
