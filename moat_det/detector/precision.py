"""The number format a device computes in fastest, without a loss that detection feels."""

from __future__ import annotations

import torch


def compute_dtype(device: torch.device, mixed: bool = True, training: bool = False) -> torch.dtype:
    """Choose the format of the detector's convolutions and attention.

    bfloat16 on a CPU with AMX or AVX512-BF16 units and on a GPU that has it: it keeps float32's range, so that no loss
    scaling is needed. On older GPUs float16, where they have units for it (compute capability 7) and nothing is
    trained: small gradients would vanish in it. float32 elsewhere; bfloat16 that is emulated is slower than float32.

    Args:
        device: Where the model runs.
        mixed: False asks for float32 whatever the device has.
        training: Whether gradients will be computed.
    """
    if not mixed:
        return torch.float32
    if device.type == "cpu":
        native = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
        return torch.bfloat16 if native else torch.float32
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16
        if not training and torch.cuda.get_device_capability(device) >= (7, 0):
            return torch.float16
    return torch.float32
