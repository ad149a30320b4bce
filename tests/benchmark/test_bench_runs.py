from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from helpers.dataset_files import noise
from moat_det import MOAT
from moat_det.benchmark.accuracy import costs, process, runs, sliced
from moat_det.benchmark.accuracy.costs import cost_of
from moat_det.benchmark.accuracy.runs import Run, plan
from moat_det.benchmark.accuracy.sets import BenchSet
from moat_det.benchmark.accuracy.sliced import measure_sliced
from moat_det.benchmark.flops import count_flops
from moat_det.benchmark.passes import build
from moat_det.benchmark.runner import Row
from moat_det.cli.command import load_command
from moat_det.cli.parser import parse
from moat_det.engine.checkpoint import Checkpoint, load_checkpoint
from moat_det.engine.trained import Trained
from moat_det.evaluation import LEAST_SCORE
from moat_det.files import atomic_write_json

IDENTITY = {split: {"images": 4, "boxes": 8, "digest": split} for split in ("train", "val", "test")}
RECIPE = {"imgsz": [64, 96], "epochs": 3, "cos_lr": True, "lr0": 0.01}


def make_run(tmp_path: Path, model: str = "tiny_moat0", **recipe: Any) -> Run:
    made = BenchSet("steel", tmp_path / "data.yaml", dict(IDENTITY), "val", (64, 96))
    return Run(model, made, 0, {**RECIPE, **recipe}, tmp_path / "runs")


def save(run: Run, training: dict[str, Any] | None = None) -> None:
    """Write the checkpoints that a training leaves; `training` is there where it has not finished."""
    run.last.parent.mkdir(parents=True, exist_ok=True)
    model = MOAT("tiny_moat0")
    model.overrides["imgsz"] = [64, 96]
    model.save(run.best)
    kept = {name: getattr(load_checkpoint(run.best), name) for name in Checkpoint.__dataclass_fields__}
    Checkpoint(**{**kept, "training": training}).save(run.last)


def test_the_number_format_is_that_which_the_model_computed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path)
    assert run.dtype is None
    save(run)
    monkeypatch.setattr(runs, "compute_dtype", lambda device, mixed, training: (torch.float32, torch.bfloat16)[mixed])
    assert run.dtype == "bfloat16"
    kept = {name: getattr(load_checkpoint(run.last), name) for name in Checkpoint.__dataclass_fields__}
    Checkpoint(**{**kept, "args": {**kept["args"], "amp": False}}).save(run.last)
    assert run.dtype == "float32"
    peer = replace(run, model="yolo11n")
    peer.last.parent.mkdir(parents=True)
    shutil.copy(run.best, peer.last)
    assert peer.dtype == "float32"


def test_a_runs_folder_is_named_by_what_makes_it_what_it_is(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    relabelled = {**IDENTITY, "train": {**IDENTITY["train"], "digest": "other"}}
    others = [
        replace(run, model="yolo11n"),
        replace(run, seed=1),
        make_run(tmp_path, epochs=4),
        replace(run, set=replace(run.set, name="other")),
        replace(run, set=replace(run.set, identity=relabelled)),
    ]
    assert len({run.folder, *(other.folder for other in others)}) == 6
    assert run.folder.parent == tmp_path / "runs/steel"
    assert run.folder.name.startswith("tiny_moat0-seed0-")

    elsewhere = replace(
        make_run(tmp_path, device="cpu", workers=2), set=replace(run.set, yaml_file=tmp_path / "b.yaml")
    )
    assert elsewhere.folder == run.folder, "where it runs makes no other run"
    retested = replace(run, set=replace(run.set, identity={**IDENTITY, "test": {"images": 1}}))
    assert retested.folder == run.folder
    assert retested.test_folder(None) != run.test_folder(None)


def test_the_first_seed_of_all_comes_before_the_second(tmp_path: Path) -> None:
    runs = plan(["tiny_moat0", "yolo11n"], [make_run(tmp_path).set], [0, 1], RECIPE, tmp_path)
    assert [(run.model, run.seed) for run in runs] == [
        ("tiny_moat0", 0),
        ("yolo11n", 0),
        ("tiny_moat0", 1),
        ("yolo11n", 1),
    ]


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The words that Python would be started with."""
    called: list[tuple[str, ...]] = []
    monkeypatch.setattr(process, "_python", lambda *words: called.append(words) or True)
    return called


def test_a_run_is_begun_then_goes_on_and_is_tested(tmp_path: Path, words: list[tuple[str, ...]]) -> None:
    run = make_run(tmp_path, model="yolo11n", device="cpu", log=["tensorboard", "wandb"])
    assert run.state == "new"
    assert process.train(run)
    given = parse(load_command("train"), words[-1][3:])
    assert {**given.engine, **given.own} == {
        "model": "yolo11n.yaml",
        "data": str(run.set.yaml_file),
        **RECIPE,
        "device": "cpu",
        "log": ["tensorboard", "wandb"],
        "seed": 0,
        "project": str(run.folder.parent),
        "name": run.folder.name,
        "exist_ok": True,
    }
    assert json.loads((run.folder / "bench.json").read_text())["arguments"] == RECIPE

    save(run, {"epoch": 1})
    assert run.state == "cut"
    assert process.train(run)
    given = parse(load_command("train"), words[-1][3:])
    assert given.engine == {"resume": str(run.last), "data": str(run.set.yaml_file), "device": "cpu"}

    save(run)
    assert run.state == "trained"
    assert process.test(run, None)
    given = parse(load_command("val"), words[-1][3:])
    assert given.own["weights"] == str(run.best)
    assert (given.engine["split"], Path(given.engine["project"]) / given.engine["name"]) == (
        "test",
        run.test_folder(None),
    )

    judged = replace(run, arguments={**run.arguments, "classes": [0, 2], "max_det": 10})
    assert process.test(judged, None)
    given = parse(load_command("val"), words[-1][3:])
    assert (given.engine["classes"], given.engine["max_det"]) == ([0, 2], 10)

    assert process.test(run, 64)
    assert words[-1][:2] == ("-m", sliced.__name__)
    assert json.loads(Path(words[-1][2]).read_text()) == {
        "weights": str(run.best),
        "data": str(run.set.yaml_file),
        "tile": 64,
        "folder": str(run.test_folder(64)),
        "device": "cpu",
    }


def test_what_ends_badly_is_told(tmp_path: Path) -> None:
    assert not process._python("-c", "raise SystemExit(2)")
    assert process._python("-c", "")


def test_a_training_is_asked_to_end_where_we_are_interrupted(tmp_path: Path) -> None:
    program = (
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path(sys.argv[1]).write_text('whole'), sys.exit(143)))\n"
        "print('begun', flush=True)\ntime.sleep(60)\n"
    )

    def interrupted() -> bool:
        if (tmp_path / "log").read_text() == "begun\n":
            raise KeyboardInterrupt
        return True

    with (tmp_path / "log").open("wb") as log, pytest.raises(KeyboardInterrupt):
        process.run_python(["-c", program, str(tmp_path / "checkpoint")], log, interrupted)
    assert (tmp_path / "checkpoint").read_text() == "whole"


def test_a_cost_is_measured_once_unless_the_machine_was_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path)
    save(run)
    cases, busy = [], [True]

    def run_case(case: Any, repeats: int, threads: int) -> Row:
        cases.append(case)
        return Row(case, [0.1, 0.3, 0.2], 100.0, 7.0, 8.0)

    monkeypatch.setattr(costs, "run_case", run_case)
    monkeypatch.setattr(costs, "_machine_is_busy", lambda: busy[0])
    untimed = cost_of(run, None, 1, tmp_path / "costs", timed=False)
    assert (untimed.seconds, untimed.memory_mib, len(cases)) == (None, None, 0)
    assert untimed.parameters == sum(parameter.numel() for parameter in MOAT(run.best).model.parameters())
    assert untimed.flops > 1e8

    first = cost_of(run, None, 1, tmp_path / "costs", timed=True)
    assert (first.seconds, first.memory_mib, first.busy) == (0.2, 7.0, True)
    assert (first.parameters, first.flops) == (untimed.parameters, untimed.flops)
    assert (cases[0].imgsz, cases[0].tiles, cases[0].batch) == ("64x96", "whole", 1)
    assert (cases[0].classes, cases[0].channels) == (len(MOAT(run.best).model.names), 3)
    assert sum(parameter.numel() for parameter in build(cases[0]).parameters()) <= untimed.parameters, "folded norms"
    busy[0] = False
    assert not cost_of(run, None, 1, tmp_path / "costs", timed=True).busy
    cost_of(run, None, 1, tmp_path / "costs", timed=True)
    assert len(cases) == 2
    assert cost_of(run, None, 2, tmp_path / "costs", timed=True).threads == 2, (
        "another number of threads is another case"
    )


def test_in_tiles_the_work_is_that_of_all_tiles(tmp_path: Path) -> None:
    pytest.importorskip("sahi")
    run = make_run(tmp_path)
    save(run)
    # Two tiles of 64 px in 64 x 96, and the whole image once more.
    whole, tiled = (cost_of(run, tiles, 1, tmp_path / "costs", timed=False) for tiles in (None, 64))
    square = count_flops(MOAT(run.best).model.eval(), 64, 64)
    assert tiled.flops == 3 * square
    assert whole.flops != tiled.flops


def test_flops_are_two_for_each_multiply_add() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()).eval()
    assert count_flops(model, 16, 10) == 2 * 16 * 10 * 8 * 3 * 9


def test_what_tiles_cannot_be_measured_on_ends_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_set: Callable[[dict[str, str | None]], Path]
) -> None:
    data = make_set({"a.png": None})
    content = data.read_text()
    job = {"weights": "tiny_moat0", "data": str(data), "tile": 64, "folder": str(tmp_path / "tiled"), "split": "val"}
    atomic_write_json(tmp_path / "job.json", job)
    data.write_text(f"{content}channels: 1\n")
    with pytest.raises(SystemExit, match=r"sliced: --sliced: .*data\.yaml has 1 channels"):
        sliced.main(str(tmp_path / "job.json"))
    pytest.importorskip("sahi")
    data.write_text(content)

    def vanish(*_: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(sliced, "read_input", vanish)
    model = SimpleNamespace(model=SimpleNamespace(names={0: "scratch", 1: "pit", 2: "stain"}), trained=Trained())
    monkeypatch.setattr(sliced, "MOAT", lambda _: model)
    with pytest.raises(SystemExit, match=r"sliced: .*a\.png: No such file or directory; replace the image"):
        sliced.main(str(tmp_path / "job.json"))


def test_boxes_of_tiles_are_measured_in_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sahi")
    run = make_run(tmp_path)
    save(run)
    names = list(MOAT(run.best).model.names.values())
    (tmp_path / "data.yaml").write_text(f"train: images\nval: images\ntest: images\nnames: {json.dumps(names)}\n")
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    pixels = np.array(noise(64, 160)) // 2
    pixels[20:40, 100:130] = 255
    Image.fromarray(pixels).save(tmp_path / "images/a.png")
    (tmp_path / "labels/a.txt").write_text(f"2 {115 / 160} {30 / 64} {30 / 160} {20 / 64}\n")

    class Boxes:
        def __init__(self, image: np.ndarray) -> None:
            rows, columns = np.nonzero((image > 250).all(axis=2))
            box = [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, 0.9, 2]] if len(rows) else []
            self.data = np.array(box, dtype=float).reshape(-1, 6)

    def predict(self: MOAT, image: np.ndarray, imgsz: int, conf: float, **_: Any) -> list[Any]:
        assert (imgsz, conf) == (64, LEAST_SCORE)
        return [type("Result", (), {"boxes": Boxes(image)})]

    monkeypatch.setattr(MOAT, "predict", predict)
    metrics = measure_sliced(run.best, tmp_path / "data.yaml", 64, run.test_folder(64))
    assert metrics.AP50 > 0.999
    found = run.metrics(64)
    assert found is not None
    assert found["AP50"] == metrics.AP50
    atomic_write_json(run.test_folder(None) / "metrics.json", {"AP": 0.5})
    assert run.metrics(None) == {"AP": 0.5}
