"""Starting the processes of one node; those of several nodes are started by `torchrun`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from moat_det.cores import asked_threads, threads_of_each
from moat_det.engine.device import choose_device
from moat_det.engine.recovery.signals import ENDING, TOGETHER
from moat_det.errors import UserError

_TO_END = 30  # seconds that the others get to end by themselves after one has failed
_TO_END_ALONE = 600  # and after the one that started them was killed, which the writing of a checkpoint counts in
_LOOK_EVERY = 0.1

_STOPPED = {128 + number for number in ENDING}  # the exit codes of a process that a signal has ended in order
_LAUNCHER = "MOAT_DET_LAUNCHER"  # what tells a process which one has started it


def launch(words: Sequence[str], devices: Sequence[str]) -> int:
    """Run a command of `moat` in a process for each device, and wait for them.

    A signal to end is passed on to all, and the first one gets the time that it takes to write what it writes; a second
    signal ends them at once.

    Args:
        words: The command and its arguments.
        devices: One for each process.

    Returns:
        The exit code of the first process that failed, which has said why, or of the first one.

    Raises:
        UserError: This machine does not have the devices, or a process was killed.
        KeyboardInterrupt: A signal to end came before all had been started.
    """
    for device in devices:
        choose_device(device)
    port = _free_port()
    processes: list[subprocess.Popen[bytes]] = []
    with _signals_passed_on(processes) as passed_on:
        try:
            for rank in range(len(devices)):
                processes.append(_start(words, rank, len(devices), port))
            if passed_on:  # before all were there to hear it
                raise KeyboardInterrupt
            while True:
                codes = [_exit_code(process, bool(passed_on)) for process in processes]
                failed = [rank for rank, code in enumerate(codes) if code and code not in _STOPPED]
                if failed or codes[0] in _STOPPED or None not in codes or len(passed_on) > 1:
                    break
                time.sleep(_LOOK_EVERY)
        finally:
            _end(processes)
    code = codes[failed[0]] if failed else _exit_code(processes[0], bool(passed_on))
    assert code is not None
    if code < 0 and failed:
        raise UserError(
            f"process {failed[0]} of {len(devices)} was killed by {signal.Signals(-code).name}, and the others were "
            "ended: mostly the memory was full; go on with --resume"
        )
    return code if code >= 0 else 128 - code


def _exit_code(process: subprocess.Popen[bytes], asked: bool) -> int | None:
    """Give the exit code, or None; one that a signal has ended before it took signals is like one that has taken it."""
    code = process.poll()
    return 128 - code if asked and code is not None and 128 - code in _STOPPED else code


@contextmanager
def _signals_passed_on(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[list[float]]:
    """Pass the signals to end on to the processes for the time of the block; gives when they came.

    Those that are ignored (`nohup`) stay so, here and there.
    """
    passed_on: list[float] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        if passed_on and now - passed_on[-1] < TOGETHER:
            return
        passed_on.append(now)
        if sys.platform == "win32":  # whose console tells all of them
            return
        for process in processes:
            process.send_signal(number)

    before = {}
    if threading.current_thread() is threading.main_thread():  # no other may
        before = {number: signal.getsignal(number) for number in ENDING}
    before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, pass_on)
    try:
        yield passed_on
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with_launcher() -> None:
    """Let this process end, in order or after a while the hard way, where the one that started it was killed."""
    launcher = os.environ.pop(_LAUNCHER, None)
    if launcher is None or sys.platform == "win32":  # where a parent's number stays, and a `venv` puts one in between
        return

    def watch() -> None:
        while os.getppid() == int(launcher):
            time.sleep(_LOOK_EVERY * 5)  # all of them within a second, see `recovery.signals.TOGETHER`
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_TO_END_ALONE)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


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
        _LAUNCHER: str(os.getpid()),
    }
    # In a session of its own: Ctrl-C is for this process, which passes it on once.
    return subprocess.Popen(
        [sys.executable, "-m", "moat_det", *words], env={**os.environ, **place}, start_new_session=True
    )


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
