"""Starting the processes of one node; those of several nodes are started by `torchrun`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from moat_det.cores import asked_threads, threads_of_each
from moat_det.engine.device import choose_device
from moat_det.errors import UserError

_TO_END = 30  # seconds that the others get to end by themselves after one has failed
_LOOK_EVERY = 0.1


def launch(words: Sequence[str], devices: Sequence[str]) -> int:
    """Run a command of `moat` in a process for each device, and wait for them.

    Args:
        words: The command and its arguments.
        devices: One for each process.

    Returns:
        The exit code of the first process that failed, which has said why, or 0.

    Raises:
        UserError: This machine does not have the devices, or a process was killed.
    """
    for device in devices:
        choose_device(device)
    port = _free_port()
    processes = [_start(words, rank, len(devices), port) for rank in range(len(devices))]
    try:
        while True:
            codes = [process.poll() for process in processes]
            if failed := [rank for rank, code in enumerate(codes) if code]:
                break
            if None not in codes:
                return 0
            time.sleep(_LOOK_EVERY)
    finally:
        _end(processes)
    code = codes[failed[0]]
    assert code is not None
    if code < 0:
        raise UserError(
            f"process {failed[0]} of {len(devices)} was killed by {signal.Signals(-code).name}, and the others were "
            "ended: mostly the memory was full; go on with --resume"
        )
    return code


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def _start(words: Sequence[str], rank: int, size: int, port: int) -> subprocess.Popen[bytes]:
    place = {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": str(threads_of_each(size, asked_threads())),
    }
    return subprocess.Popen([sys.executable, "-m", "moat_det", *words], env={**os.environ, **place})


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End those that still run, the hard way where the gentle one takes too long."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    limit = time.monotonic() + _TO_END
    for process in processes:
        try:
            process.wait(max(limit - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
