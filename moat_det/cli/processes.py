"""Commands that work in several processes: one for each device that is named."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from moat_det.cli.command import Arguments
from moat_det.engine.distributed.devices import named_devices
from moat_det.engine.distributed.group import end_at_once, follows, is_launched
from moat_det.engine.distributed.launch import end_with_launcher, launch

DEVICE = "where to compute: cpu, or a GPU's number; several (0,1 or cpu,cpu) start a process for each"

_TURN = 20  # seconds in which the first process says an error that all of them have, and ends the others


def in_processes(name: str, arguments: Arguments, work: Callable[[], None]) -> int:
    """Do a command's work here, or start a process for each device that the user names, which does its part of it.

    Args:
        name: Of the command.
        arguments: Of the command.
        work: What one process does.

    Returns:
        The exit code.
    """
    devices = named_devices(arguments.engine.get("device"))
    if len(devices) > 1 and not is_launched():
        return launch([name, *arguments.words], devices)
    end_with_launcher()
    try:
        work()
    except KeyboardInterrupt:
        if not follows():
            raise
        return 128 + signal.SIGINT  # without a word: the first one says it
    except Exception:
        if follows():
            end_at_once()
            time.sleep(_TURN)
        raise
    return 0
