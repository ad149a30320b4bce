"""Two and three processes on this machine: what they compute is what one computes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from timm.layers import BatchNormAct2d

from helpers import ranks
from helpers.separated import separate
from moat_det.demo import generate_demo
from moat_det.engine.model import MOAT

TESTS = Path(__file__).parents[2]


def torchrun(processes: int, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        + [str(word) for word in words],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data.yaml of 17 images, whose last batch of 8 has one, for two processes, and 11 to validate on."""
    return generate_demo(tmp_path_factory.mktemp("few") / "demo", train=17, val=11, size=(96, 96))


@pytest.fixture(scope="module")
def weights(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that finds much, and no two boxes of the same score."""
    model = MOAT(str(trained / "weights" / "best.pt"))
    separate(model.model)
    path = tmp_path_factory.mktemp("weights") / "separated.pt"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def alone(few: Path, model_yaml: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process leaves: the weights of a training in float64, and a validation."""
    folder, threads = tmp_path_factory.mktemp("alone"), torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        ranks.train_in_double(few, model_yaml, folder)
        ranks.validate(few, weights, folder)
    torch.set_num_threads(threads)
    return folder


@pytest.fixture(scope="module")
def together(few: Path, model_yaml: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes leave."""
    folder = tmp_path_factory.mktemp("together")
    done = torchrun(2, ranks.__file__, few, model_yaml, weights, folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_weights_of_an_epoch_are_those_of_one_process(alone: Path, together: Path) -> None:
    one, two = (torch.load(folder / "double.pt", weights_only=True) for folder in (alone, together))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=0, atol=1e-6, msg=name)


def test_so_are_those_of_a_network_of_timm_with_its_own_norms_and_dropped_branches(few: Path, tmp_path: Path) -> None:
    model = tmp_path / "timm.yaml"
    model.write_text(
        "backbone: {name: timm/mobilenetv3_small_050, drop_path_rate: 0.5}\nneck: {channels: [16, 16, 16]}\n"
    )
    assert any(isinstance(module, BatchNormAct2d) for module in MOAT(str(model)).model.modules())
    threads = torch.get_num_threads()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    ranks.train_in_double(few, model, tmp_path / "one")
    torch.set_num_threads(threads)
    done = torchrun(2, ranks.__file__, few, model, "none", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    one, two = (torch.load(tmp_path / name / "double.pt", weights_only=True) for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=0, atol=1e-6, msg=name)


def test_a_stage_of_which_the_neck_takes_no_map_stops_no_process(few: Path, tmp_path: Path) -> None:
    model = tmp_path / "fine.yaml"
    model.write_text("backbone: {name: tiny_moat0}\nneck: {levels: [2, 3, 4], channels: [16, 16, 16]}\n")
    done = torchrun(2, ranks.__file__, few, model, "none", tmp_path)
    assert done.returncode == 0, done.stderr


def test_losses_shown_are_those_of_all_images(alone: Path, together: Path) -> None:
    one, two = (torch.load(folder / "loss.pt", weights_only=True) for folder in (alone, together))
    assert two == pytest.approx(one, rel=1e-6)


def assert_same_files(one: Path, other: Path) -> None:
    for name in ("predictions.json", "appearance.json", "inspection.json", "ground_truth.json"):
        assert (one / "val" / name).read_bytes() == (other / "val" / name).read_bytes(), name
    one_metrics, other_metrics = (json.loads((folder / "val" / "metrics.json").read_text()) for folder in (one, other))
    assert one_metrics.pop("speed_ms").keys() == other_metrics.pop("speed_ms").keys()
    assert one_metrics == other_metrics
    assert len({found["image_id"] for found in json.loads((other / "val" / "predictions.json").read_text())}) == 11


def test_two_processes_measure_what_one_does(alone: Path, together: Path) -> None:
    assert_same_files(alone, together)


def test_three_processes_measure_what_one_does(alone: Path, few: Path, weights: Path, tmp_path: Path) -> None:
    done = torchrun(3, ranks.__file__, few, "none", weights, tmp_path)
    assert done.returncode == 0, done.stderr
    assert_same_files(alone, tmp_path)
    assert done.stdout.count("Results in") == 1, "one log"
    assert [path.name for path in tmp_path.iterdir()] == ["val"], "one folder"
