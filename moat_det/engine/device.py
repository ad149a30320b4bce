"""Choosing the device, and giving the threads back that the engine takes away."""

from __future__ import annotations

import os

import torch
from ultralytics.utils.torch_utils import parse_device, select_device

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
        chosen = select_device(parse_device(device), verbose=False)
    except (ValueError, RuntimeError, AssertionError):
        available = ["cpu", *(str(i) for i in range(torch.cuda.device_count()))]
        raise UserError(f"--device {device}: this machine has no such device; it has {', '.join(available)}") from None
    use_all_cores()
    return chosen
