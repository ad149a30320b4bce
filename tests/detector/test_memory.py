from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from moat_det import memory
from moat_det.detector.build import build_model, find_config
from moat_det.detector.memory import OVERHEAD, available_memory, predict_memory
from moat_det.detector.precision import cpu_computes_bfloat16

MIB = 2**20

# A pass in a process of its own: its peak by the operating system, less what it had before, beside the prediction.
MEASURE = """
import torch
import moat_det.offline
from moat_det.detector.build import build_model, find_config
from moat_det.allocator import give_back_freed_memory
from moat_det.detector.memory import predict_memory

def status(name):
    return int(next(line for line in open("/proc/self/status") if line.startswith(name)).split()[1]) * 1024

model = build_model(find_config("{name}"), 3).eval().fuse(verbose=False)
model.to(memory_format=torch.channels_last)
model.dtype = torch.{dtype}
give_back_freed_memory()
predicted = predict_memory(model, (1, 3, {size}, {size}))
open("/proc/self/clear_refs", "w").write("5")
before = status("VmRSS")
peaks = []
with torch.inference_mode():
    for _ in range(3):
        model(torch.zeros(1, 3, {size}, {size}, dtype=torch.uint8))
        peaks.append(status("VmHWM") - before)
print(predicted, peaks[0], peaks[-1])
"""


class Chain(nn.Module):
    """Keeps its input, and no more than two maps of its own at once."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(5):
            y = x.float() * self.factor
            del x
            x = y + 1
            del y
        return x.sum()


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is read from Linux's /proc")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["tiny_moat0", "tiny_moat0-p2"])
def test_the_prediction_is_within_a_quarter_of_the_peak(name: str, dtype: str) -> None:
    """Of the first pass and of three: what was freed is not kept. `docs/large-images.md` has other sizes."""
    if dtype == "bfloat16" and not cpu_computes_bfloat16():
        pytest.skip("oneDNN emulates bfloat16 here, in float32 beside it; no model of ours would compute in it")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE.format(size=640, name=name, dtype=dtype)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    predicted, *measured = map(int, done.stdout.split())
    for peak in measured:
        assert 0.75 * peak <= predicted <= 1.25 * peak


def test_what_is_freed_no_longer_counts() -> None:
    # The images, 1 byte an element, are held by the caller; two maps of 4 bytes are alive at once.
    assert predict_memory(Chain(), (1, 1, 1024, 1024)) - OVERHEAD == pytest.approx(9 * MIB, rel=0.01)


def test_it_grows_with_the_batch_and_the_number_format() -> None:
    model = build_model(find_config("tiny_moat0"), 3).eval()
    one, two = (predict_memory(model, (batch, 3, 256, 256)) - OVERHEAD for batch in (1, 2))
    assert two == pytest.approx(2 * one, rel=0.1)
    model.dtype = torch.bfloat16
    assert predict_memory(model, (1, 3, 256, 256)) - OVERHEAD < 0.75 * one


def test_a_model_of_the_engine() -> None:
    model = build_model(find_config("yolo11n.yaml"), 3).eval()
    assert predict_memory(model, (1, 3, 256, 256), torch.float32) > OVERHEAD + 256 * 256 * 3 * 4


def test_the_model_stays_as_it_is() -> None:
    model = build_model(find_config("tiny_moat0"), 3).eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        before = model(images)[0]
        predict_memory(model, (1, 3, 64, 64), torch.float32)
        predict_memory(model, (1, 3, 96, 96), torch.float32)
        assert torch.equal(model(images)[0], before)


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        (
            "0::/service/job\n",
            {
                "service/job/memory.max": "max",
                "service/memory.max": "1000",
                "service/memory.current": "700",
                "service/memory.stat": "anon 500\ninactive_file 200\n",
            },
            500,
        ),
        (
            "4:cpu,memory:/job\n2:pids:/\n",
            {
                "memory/job/memory.limit_in_bytes": "1000",
                "memory/job/memory.usage_in_bytes": "100",
                "memory/job/memory.stat": "total_inactive_file 0\n",
            },
            900,
        ),
        ("0::/\n", {}, None),
    ],
)
def test_the_limit_of_a_control_group(
    membership: str, files: dict[str, str], expected: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cgroup").write_text(membership)
    for name, text in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = list(memory._control_group_headrooms(tmp_path / "cgroup", tmp_path / "root"))
    assert found == ([] if expected is None else [expected])
    if expected is not None:
        monkeypatch.setattr(memory, "_control_group_headrooms", lambda: found)
        assert available_memory(torch.device("cpu")) == expected
