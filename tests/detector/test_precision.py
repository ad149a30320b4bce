from __future__ import annotations

import pytest
import torch

from moat_det.detector.precision import compute_dtype


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


@pytest.mark.parametrize(("amx", "avx512"), [(True, False), (False, True), (False, False)])
def test_what_a_cpu_computes_in(monkeypatch: pytest.MonkeyPatch, amx: bool, avx512: bool) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    assert compute_dtype(torch.device("cpu")) == (torch.bfloat16 if amx or avx512 else torch.float32)
