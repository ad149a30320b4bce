"""The commands on a GPU: what only its memory, its kernels and its copies can break."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.gpu import on_a_gpu
from helpers.squares import Learnt
from moat_det.cli import main as cli
from moat_det.detector.build import build_model, find_config
from moat_det.detector.memory import predict_memory
from moat_det.engine import MOAT
from moat_det.engine.checkpoint import load_checkpoint

pytestmark = on_a_gpu

ON_GPU = ["--plots", "false", "--device", "0", "--debug"]


def test_a_training_on_a_gpu_goes_on_and_its_model_runs_on_a_cpu(demo: Path, tmp_path: Path) -> None:
    words = ["--data", str(demo), "--backbone", "tiny_moat0", "--project", str(tmp_path), *ON_GPU]
    cli.train([*words, "--imgsz", "64", "--batch", "8", "--epochs", "3", "--workers", "2", "--save-period", "1"])
    run = tmp_path / "train"
    content = torch.load(run / "weights" / "best.pt", weights_only=True)
    assert all(value.device.type == "cpu" for value in content["weights"].values())
    cli.train(["--resume", str(run / "weights" / "epoch1.pt"), "--device", "0", "--debug"])
    assert len((run / "results.csv").read_text().splitlines()) == 1 + 3
    for device in ("0", "cpu"):
        words = [
            "--weights",
            str(run / "weights" / "best.pt"),
            "--data",
            str(demo),
            "--imgsz",
            "64",
            "--device",
            device,
        ]
        cli.val([*words, "--plots", "false", "--project", str(tmp_path), "--name", f"val-{device}", "--debug"])
        assert json.loads((tmp_path / f"val-{device}" / "metrics.json").read_text())


def test_boxes_are_those_of_a_cpu(learnt: Learnt, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32: TensorFloat32, which convolutions take unless they are told not to, is left aside."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    images = [np.full((96, 128, 3), 90, np.uint8) for _ in range(2)]
    images[0][30:50, 40:60] = 220
    images[1][10:26, 90:106] = 30
    found = {
        device: MOAT(learnt.weights).predict(images, imgsz=96, device=device, amp=False, conf=0.05, verbose=False)
        for device in ("0", "cpu")
    }
    for ours, theirs in zip(found["0"], found["cpu"], strict=True):
        here, there = ours.boxes.data.cpu(), theirs.boxes.data.cpu()
        assert len(here) == len(there) > 0
        assert (here[:, :4] - there[:, :4]).abs().max() < 0.05
        assert (here[:, 4] - there[:, 4]).abs().max() < 1e-3


def test_where_the_memory_of_a_gpu_is_full_the_batch_halves(demo: Path, tmp_path: Path) -> None:
    """A step of 24 images takes about 3 GiB, 12 take half of it; the engine halves up to three times."""
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(2 * 2**30 / total)
    try:
        words = ["--data", str(demo), "--backbone", "tiny_moat0", "--project", str(tmp_path), "--epochs", "1"]
        cli.train([*words, *ON_GPU, "--imgsz", "384", "--batch", "24", "--workers", "0"])
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    arguments = load_checkpoint(tmp_path / "train" / "weights" / "last.pt").args
    assert arguments["batch"] < 24
    assert arguments["nbs"] == 24


@pytest.mark.parametrize("size", [640, 1280])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_memory_of_a_pass_is_predicted(size: int, dtype: torch.dtype) -> None:
    model = build_model(find_config("tiny_moat0"), 3).eval().fuse(verbose=False)
    model.to("cuda", memory_format=torch.channels_last)
    model.dtype = dtype
    predicted = predict_memory(model, (1, 3, size, size))
    images = torch.zeros(1, 3, size, size, dtype=torch.uint8, device="cuda")
    with torch.inference_mode():
        model(images)  # what libraries take once
        before = torch.cuda.memory_allocated() - images.nbytes
        torch.cuda.reset_peak_memory_stats()
        model(images)
    measured = torch.cuda.max_memory_allocated() - before
    print(f"predicted {predicted / 2**20:.0f} MiB, measured {measured / 2**20:.0f} MiB")
    assert 0.75 * measured < predicted < 1.25 * measured + (16 << 20)


def test_the_benchmark_measures_a_gpu(tmp_path: Path) -> None:
    words = ["--models", "tiny_moat0", "--imgsz", "320", "--window", "full", "7", "--dtype", "bfloat16"]
    cli.main(["benchmark", *words, "--device", "cuda", "--mode", "forward", "train", "--out", str(tmp_path)])
    rows = (tmp_path / "benchmark.csv").read_text().splitlines()
    assert len(rows) == 1 + 4
    assert "rror" not in "".join(rows[1:])
