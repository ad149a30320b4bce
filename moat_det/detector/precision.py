"""The number format a device computes in fastest, without a loss that detection feels."""

from __future__ import annotations

import os

import torch

# Instruction sets of a CPU that oneDNN can be held to, in which it emulates bfloat16 in those of float32.
_EMULATING = {"avx512_core", "avx512_core_vnni"}


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
        return torch.bfloat16 if cpu_computes_bfloat16() else torch.float32
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16
        if not training and torch.cuda.get_device_capability(device) >= (7, 0):
            return torch.float16
    return torch.float32


def cpu_computes_bfloat16() -> bool:
    """Say whether oneDNN, torch's library of kernels for CPUs, has units for bfloat16 and will use them.

    The processor must have them, and oneDNN must not be held to a smaller instruction set by its environment variable
    ONEDNN_MAX_CPU_ISA (before: DNNL_MAX_CPU_ISA), which `torch.cpu` does not know of. ATEN_CPU_CAPABILITY holds torch's
    own kernels, not oneDNN's.
    """
    if not (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()):
        return False
    # Also true where it would emulate them: the limit says which. torch has no word for that.
    if not (torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return False
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or ""
    return limit.lower() not in _EMULATING
