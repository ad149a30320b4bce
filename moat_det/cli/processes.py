"""Commands that work in several processes: one for each device that is named."""

from __future__ import annotations

from moat_det.cli.command import Arguments
from moat_det.engine.distributed.devices import named_devices
from moat_det.engine.distributed.group import is_launched

DEVICE = "where to compute: cpu, or a GPU's number; several (0,1 or cpu,cpu) start a process for each"


def devices_to_start(arguments: Arguments) -> list[str]:
    """Give the devices to start processes for; none where one process does, or a launcher has started this one."""
    devices = named_devices(arguments.engine.get("device"))
    return devices if len(devices) > 1 and not is_launched() else []
