"""The kernels against the plain form: in triton's interpreter on any machine, and built where there is a GPU."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from types import ModuleType

import pytest
import torch
from torch import Tensor

from helpers.gpu import on_a_gpu
from moat_det.backbones.moat import blocked_attention as module
from moat_det.backbones.moat.attention import attend, attend_plain
from moat_det.backbones.moat.blocked_attention import blocked_attention, blocked_attention_backward
from moat_det.backbones.position_bias import fit_table

# Windows that a tile of 64 tokens holds, does not hold, and ends in.
SIZES = [(1, 1), (5, 7), (8, 8), (3, 70), (16, 9)]

INTERPRETED = """
import json, sys
import torch
from moat_det.backbones.moat import fused_attention as kernels
from moat_det.backbones.moat.attention import attend_plain
from moat_det.backbones.moat.fused_attention import fused_attention, fused_attention_backward

worst = {}
for number, (h, w) in enumerate(json.loads(sys.argv[1]), 1):
    torch.manual_seed(number)
    heads, size = (3, 16) if number % 2 else (2, 32)
    kernels._PROGRAMS = (1, 1024, 40)[number % 3]  # the images of the table's gradient in one, three, or two groups
    q, k, v, grad = (torch.randn(3, h * w, heads, size).transpose(1, 2) for _ in range(4))
    table = torch.randn(heads, 2 * h + 1, 2 * w + 1)[:, 1:-1, 1:-1]  # a view, as `crop_table` gives it
    exact = [x.double().requires_grad_() for x in (q, k, v, table)]
    plain = attend_plain(*exact, (h, w))
    theirs = plain, *torch.autograd.grad(plain, exact, grad.double())
    out = fused_attention(q, k, v, table, h, w)
    ours = out, *fused_attention_backward(grad, q, k, v, table, out, h, w)
    assert all(x.transpose(1, 2).is_contiguous() for x in ours[:4]), "other than the operator promises"
    worst[f"{h}x{w}"] = max(float((a - b).abs().max() / max(1, b.abs().max())) for a, b in zip(ours, theirs))
print(json.dumps(worst))
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed: it has no such wheel")
def test_the_kernels_compute_the_plain_form() -> None:
    """Output and every gradient, in the interpreter, which has to be chosen before triton is imported."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", INTERPRETED, json.dumps(SIZES)],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    worst = json.loads(run.stdout)
    assert len(worst) == len(SIZES)
    assert max(worst.values()) < 1e-5, worst


def inputs(size: tuple[int, int], dtype: torch.dtype, batch: int, heads: int = 4) -> list[Tensor]:
    torch.manual_seed(0)
    leaves = [torch.randn(batch, size[0] * size[1], heads, 32, device="cuda", dtype=dtype) for _ in range(3)]
    wide = torch.promote_types(dtype, torch.float32)
    table = torch.randn(heads, 2 * size[0] - 1, 2 * size[1] - 1, device="cuda", dtype=wide)
    return [x.requires_grad_() for x in (*(leaf.transpose(1, 2) for leaf in leaves), table)]


@on_a_gpu
@pytest.mark.parametrize("size", [*SIZES, (20, 20), (40, 40)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_a_gpu_computes_the_plain_form(size: tuple[int, int], dtype: torch.dtype) -> None:
    """Whatever it takes: the kernels, and blocks for float64."""
    low = inputs(size, dtype, batch=3)
    exact = [x.detach().double().requires_grad_() for x in low]
    out, plain = attend(low[0], low[1], low[2], low[3], size), attend_plain(*exact[:3], exact[3], size)
    grad = torch.randn_like(out)
    ours = out, *torch.autograd.grad(out, low, grad)
    theirs = plain, *torch.autograd.grad(plain, exact, grad.double())
    tolerance = {torch.bfloat16: 2e-2, torch.float16: 3e-3, torch.float32: 1e-5, torch.float64: 1e-10}[dtype]
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).norm() <= tolerance * max(1, b.norm())


@on_a_gpu
def test_a_gpu_takes_any_number_of_windows() -> None:
    """Of 8192 x 8192 pixels a map has 1,400 windows, and heads and images as many times as many."""
    q, k, v, table = inputs((2, 2), torch.float32, batch=20_000)
    out, plain = attend(q, k, v, table, (2, 2)), attend_plain(q, k, v, table, (2, 2))
    grad = torch.randn_like(out)
    ours, theirs = (torch.autograd.grad(x, (q, k, v, table), grad) for x in (out, plain))
    for a, b in zip((out, *ours), (plain, *theirs), strict=True):
        assert (a - b).abs().max() <= 1e-4 * max(1, b.abs().max())


@on_a_gpu
def test_memory_on_a_gpu_is_that_of_the_tokens() -> None:
    """All pairs of 96 x 96 cells are 648 MiB in bfloat16 for four heads."""
    q, k, v, table = inputs((96, 96), torch.bfloat16, batch=1)
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    attend(q, k, v, table, (96, 96)).float().sum().backward()
    assert torch.cuda.max_memory_allocated() - before < 64 << 20


@on_a_gpu
def test_the_operator_keeps_its_promises_on_a_gpu() -> None:
    q, k, v, table = inputs((2, 3), torch.float32, batch=1)
    fitted = fit_table(table, (2, 3)).detach().requires_grad_()
    torch.library.opcheck(blocked_attention, (q.detach().requires_grad_(), k, v, fitted, 2, 3))
    plain = [x.detach() for x in (q, q, k, v, fitted, q)]
    utils = ("test_schema", "test_faketensor")
    torch.library.opcheck(blocked_attention_backward, (*plain, 2, 3, None), test_utils=utils)


def test_where_nothing_can_be_built_attention_goes_in_blocks(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Driver:
        @property
        def active(self) -> None:
            raise RuntimeError("fatal error: Python.h: No such file or directory")

    runtime = ModuleType("triton.runtime")
    runtime.driver = Driver()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "triton", ModuleType("triton"))
    monkeypatch.setitem(sys.modules, "triton.runtime", runtime)
    built = module._builds_kernels.__wrapped__
    assert not built()
    assert "needs a C compiler (gcc, or what CC names) and Python's headers" in caplog.text
    assert "Python.h" in caplog.text
    monkeypatch.setitem(sys.modules, "triton.runtime", None)  # not installed
    caplog.clear()
    assert not built()
    assert not caplog.text
