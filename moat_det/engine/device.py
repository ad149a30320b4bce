"""Choosing device and precision, giving the threads back that the engine takes away, and compiling the model."""

from __future__ import annotations

import os

import torch
from torch import nn
from ultralytics.utils.torch_utils import attempt_compile, parse_device, select_device

from moat_det.engine.distributed.devices import named_devices
from moat_det.errors import UserError


def use_all_cores() -> None:
    """Let torch use every core that this process may run on, or as many as the user's OMP_NUM_THREADS asks for.

    The engine's `select_device` leaves one core out, which on two cores halves the speed.
    """
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"].split(",")[0]))


def choose_device(device: object = None) -> torch.device:
    """Resolve a device argument ("", "cpu", "0", "0,1", "mps", ...) to the first device it names.

    Raises:
        UserError: This machine has no such device.
    """
    try:
        chosen = select_device(parse_device((named_devices(device) or [""])[0]), verbose=False)
    except (ValueError, RuntimeError, AssertionError):
        available = ["cpu", *(str(i) for i in range(torch.cuda.device_count()))]
        raise UserError(f"--device {device}: this machine has no such device; it has {', '.join(available)}") from None
    use_all_cores()
    return chosen


def choose_one_device(device: str | None) -> torch.device:
    """Resolve the device of a command that computes on one alone.

    Raises:
        UserError: This machine has no such device, or several are named.
    """
    if len(names := named_devices(device)) > 1:
        raise UserError(
            f"--device {','.join(names)}: this command computes on one device; give one, such as {names[0]}"
        )
    return choose_device(device or "")


def is_mixed(amp: bool | str, quantize: int | None = None) -> bool:
    """Whether the engine's arguments `amp` and `quantize` ask for 16 bits where the device computes in them."""
    return amp not in {False, "fp32"} and quantize != 32


def compile_model(model: nn.Module, device: torch.device, mode: bool | str | None) -> nn.Module:
    """Wrap the model in `torch.compile`, which makes kernels in its first pass, and once more at the second size.

    Args:
        model: For inference.
        device: Where it runs.
        mode: The engine's `compile`: a mode of torch.compile, True for its default, or False for the model as it is.

    Raises:
        UserError: The device is a CPU, and there is no C++ compiler to make kernels for it.
    """
    check_compiler(device, mode)
    return attempt_compile(model, device=device, mode=mode)


def check_compiler(device: torch.device, mode: bool | str | None) -> None:
    """Raise `UserError` where `compile_model` would; the engine goes on uncompiled with a warning."""
    if not mode or device.type != "cpu":
        return
    from torch._inductor.cpp_builder import get_cpp_compiler  # which takes a second to import

    try:
        get_cpp_compiler()
    except Exception:  # torch raises one of its own, whose name changes between versions
        raise UserError(
            "--compile: torch finds no C++ compiler: install g++ (or name one in CXX), or leave --compile out"
        ) from None
