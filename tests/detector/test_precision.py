from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from moat_det.detector import precision
from moat_det.detector.precision import compute_dtype, cpu_computes_bfloat16


@pytest.mark.parametrize(
    ("bf16", "capability", "training", "expected"),
    [
        (True, (8, 0), False, torch.bfloat16),
        (True, (8, 0), True, torch.bfloat16),
        (False, (7, 5), False, torch.float16),
        (False, (7, 5), True, torch.float32),  # would need loss scaling
        (False, (6, 1), False, torch.float32),  # has float16, but computes it slower than float32
    ],
)
def test_what_a_gpu_computes_in(
    monkeypatch: pytest.MonkeyPatch, bf16: bool, capability: tuple[int, int], training: bool, expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16 or including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert compute_dtype(torch.device("cuda"), training=training) == expected
    assert compute_dtype(torch.device("cuda"), mixed=False, training=training) == torch.float32


@pytest.mark.parametrize("units", [True, False])
def test_what_a_cpu_computes_in(monkeypatch: pytest.MonkeyPatch, units: bool) -> None:
    monkeypatch.setattr(precision, "cpu_computes_bfloat16", lambda: units)
    assert compute_dtype(torch.device("cpu")) == (torch.bfloat16 if units else torch.float32)
    assert compute_dtype(torch.device("cpu"), mixed=False) == torch.float32


@pytest.mark.parametrize(("amx", "avx512"), [(True, False), (False, True), (False, False)])
@pytest.mark.parametrize("supported", [True, False])
@pytest.mark.parametrize("limit", [None, "AVX512_CORE", "avx512_core_bf16"])
def test_bfloat16_needs_units_that_onednn_uses(
    monkeypatch: pytest.MonkeyPatch, amx: bool, avx512: bool, supported: bool, limit: str | None
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if limit is not None:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert cpu_computes_bfloat16() == ((amx or avx512) and supported and limit != "AVX512_CORE")


@pytest.mark.parametrize("variable", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
@pytest.mark.parametrize("limit", ["SSE41", "AVX2", "AVX512_CORE"])
def test_a_limit_of_onednn_is_heard(variable: str, limit: str) -> None:
    """In a process of its own: oneDNN reads its limit once. True for any processor that the tests run on."""
    others = {name: value for name, value in os.environ.items() if "MAX_CPU_ISA" not in name}
    program = "from moat_det.detector.precision import cpu_computes_bfloat16 as asked; print(asked())"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**others, variable: limit})
    assert done.stdout.split() == ["False"]
