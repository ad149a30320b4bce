"""The number format and memory layout a device computes in fastest, without a loss that detection feels."""

from __future__ import annotations

import torch
from ultralytics.nn.tasks import DetectionModel

from moat_det.models.detector import Detector


def compute_dtype(device: torch.device, mixed: bool = True) -> torch.dtype:
    """Choose the format of the detector's convolutions and attention.

    bfloat16 on a CPU with AMX or AVX512-BF16 units and on a GPU that has it: it keeps float32's range, so that no loss
    scaling is needed. float32 elsewhere; bfloat16 that is emulated is slower than float32.

    Args:
        device: Where the model runs.
        mixed: False asks for float32 whatever the device has.
    """
    if not mixed:
        return torch.float32
    if device.type == "cpu":
        native = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    elif device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = False
    return torch.bfloat16 if native else torch.float32


def prepare(model: DetectionModel, device: torch.device, mixed: bool = True) -> DetectionModel:
    """Make a detector of ours compute as `device` does best; the engine's own models stay as they are.

    Args:
        model: Changed in place; its weights stay float32.
        device: Where the model will run.
        mixed: False asks for float32.

    Returns:
        `model`, with its kernels in channels_last, in which neither convolutions nor attention reorder their input.
    """
    if isinstance(model, Detector):
        model.dtype = compute_dtype(device, mixed)
        model.to(memory_format=torch.channels_last)
    return model
