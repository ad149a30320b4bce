"""Detection by actors: each image once, whoever dies; Ray itself where it is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.dataset_files import write_noise
from moat_det.cli import main as cli
from moat_det.detection.detections import Detections
from moat_det.detection.shards import DETECTIONS
from moat_det.engine import ray_detection
from moat_det.engine.model import MOAT
from moat_det.errors import UserError

IMAGES = [f"{folder}/part{number}.png" for folder in ("a", "b/c") for number in range(4)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Eight images in two folders, and a file that is none."""
    write_noise(tmp_path / "source", IMAGES)
    (tmp_path / "source/a/broken.png").write_bytes(b"no image")
    return tmp_path / "source"


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / DETECTIONS).read_text().splitlines()]


def test_an_actor_detects_as_moat_detect_does(trained: Path, source: Path, tmp_path: Path) -> None:
    weights = trained / "weights" / "best.pt"
    actor = ray_detection.Actor(str(weights), {"conf": 0.01, "batch": 3})
    broken = str(source / "a/broken.png")
    paths = [*(str(source / name) for name in IMAGES), broken]
    block = actor({"path": np.array(paths)})
    assert sorted(block["path"]) == sorted(paths[:-1])
    words = ["--weights", str(weights), "--source", str(source), "--project", str(tmp_path), "--conf", "0.01"]
    cli.detect([*words, "--shard", "1/1", "--save", "false", "--batch", "3", "--debug"])
    counts = {line["file_name"]: len(line["detections"]) for line in lines(tmp_path / "detect-1-of-1")}
    found = zip(block["path"], block["found"], strict=True)
    assert {os.path.relpath(path, source): len(each) for path, each in found} == counts
    assert len(actor({"path": np.array([broken])})["path"]) == 0


def test_each_image_has_one_line_and_a_stopped_run_goes_on(
    trained: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    asked: list[int] = []

    def work(weights: str, images: Sequence[str], arguments: Any, actors: int) -> Iterator[tuple[str, Detections]]:
        asked.append(len(images))
        nothing = Detections.of(np.empty((0, 6), np.float32), {0: "pit"})
        for path in images[:5] if len(asked) == 1 else images:
            if "broken" not in path:
                yield path, nothing
                yield path, nothing  # of an actor that died between its work and its end
        if len(asked) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(ray_detection, "check_installed", lambda _: None)
    monkeypatch.setattr(ray_detection, "_work", work)
    given = {"project": str(tmp_path), "name": "detect", "conf": 0.01}
    model = MOAT(trained / "weights" / "best.pt")
    for wrong, says in (
        ({"conf": ["0.25", "scrach=0.5"]}, "the model has no class scrach"),
        ({"classes": [99]}, "--classes 99: there is no such class"),
        ({"device": "cuda:99"}, "cuda:99"),
        ({"window": "many"}, "--window many"),
    ):
        with pytest.raises(UserError, match=says):
            ray_detection.detect(model, str(source), {**given, **wrong}, 2)
        assert not (tmp_path / "detect").exists(), "the next call may have other settings"
    with pytest.raises(KeyboardInterrupt):
        ray_detection.detect(model, str(source), given, 2)
    before = len(lines(tmp_path / "detect"))
    assert before in {4, 5}
    assert ray_detection.detect(model, str(source), given, 3) == (0, 8 - before, tmp_path / "detect")
    assert sorted(line["file_name"] for line in lines(tmp_path / "detect")) == sorted(IMAGES)
    assert asked == [9, 9 - before]
    assert any("1 unreadable file(s) were skipped" in line for line in log)
    with pytest.raises(UserError, match=r"was begun with conf 0\.01"):
        ray_detection.detect(model, str(source), {**given, "conf": 0.5}, 3)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("--ray 0", "--ray 0: must be 1 actor or more"),
        ("--ray 2 --save", "--save: with --ray the detections are in detections.jsonl"),
        ("--ray 2 --shard 1/2", "--shard: with --ray"),
        ("--ray 2", "pip install 'moat_det[ray]'"),
    ],
)
def test_what_cannot_be_is_a_line(
    trained: Path, source: Path, words: str, part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for name in ("ray", "ray.data"):
        monkeypatch.setitem(sys.modules, name, None)
    weights = trained / "weights" / "best.pt"
    with pytest.raises(SystemExit) as stopped:
        cli.detect(["--weights", str(weights), "--source", str(source), *words.split()])
    assert stopped.value.code == 2
    assert part in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_actors_of_ray(trained: Path, source: Path, tmp_path: Path) -> None:
    words = ["--weights", str(trained / "weights" / "best.pt"), "--source", str(source), "--conf", "0.01"]
    cli.detect([*words, "--ray", "1", "--project", str(tmp_path), "--debug"])
    assert sorted(line["file_name"] for line in lines(tmp_path / "detect")) == sorted(IMAGES)
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
