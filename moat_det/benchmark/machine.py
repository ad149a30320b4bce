"""What figures were measured on: the machine and the versions, for the files that hold them."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch
import ultralytics

import moat_det
from moat_det.benchmark.measure import MIB

_RUNTIMES = ("onnxruntime", "openvino")


def machine(gpu: bool) -> dict[str, Any]:
    """Describe the machine; `gpu` says whether the GPU had a part in it."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_mib": round(psutil.virtual_memory().total / MIB),
        **({"gpu": torch.cuda.get_device_name()} if gpu else {}),
    }


def versions() -> dict[str, str]:
    """Give the versions of what computes."""
    return {
        "python": platform.python_version(),
        "moat_det": moat_det.__version__,
        "torch": torch.__version__,
        "ultralytics": ultralytics.__version__,
        **{package: found for package in _RUNTIMES if (found := _installed(package))},
    }


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
