"""The devices that a user names: a process is started for each."""

from __future__ import annotations

from collections.abc import Sequence

from moat_det.errors import UserError


def named_devices(device: object) -> list[str]:
    """Give the devices of the engine's argument, a number, a text or a list: "0,1" is ["0", "1"], nothing is [].

    Raises:
        UserError: One is named twice that is no CPU, or CPUs stand beside others.
    """
    text = "" if device is None else str(device)
    if isinstance(device, Sequence) and not isinstance(device, str):
        text = ",".join(map(str, device))
    names = [name.strip().removeprefix("cuda:") for name in text.lower().strip("[]() ").split(",") if name.strip()]
    if len(names) > 1 and set(names) != {"cpu"} and (len(set(names)) < len(names) or "cpu" in names):
        raise UserError(f"--device {text}: name different GPUs (0,1), or the CPU for each process (cpu,cpu)")
    return names
