"""Ray, where it is installed: found where it runs, or started for a command and ended after it."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from moat_det.errors import UserError

logger = logging.getLogger(__name__)


def check_installed(part: str) -> None:
    """Raise `UserError` where a part of Ray is missing, "data" or "train"."""
    # Before Ray is imported, here and in its processes, which inherit it: nothing is sent.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        importlib.import_module(f"ray.{part}")
    except ImportError:
        raise UserError(f"--ray needs Ray: pip install 'moat_det[ray]' (or pip install 'ray[{part}]>=2.60')") from None


@contextmanager
def cluster(processes: int, *, log: bool = False) -> Iterator[None]:
    """Take the cluster of `RAY_ADDRESS`, or start one on this machine alone and end it afterwards.

    Args:
        processes: That will run beside one another; one on this machine takes as many, whatever cores it has.
        log: Print here what the processes print; Ray's own words are left out.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    # With no address of its own Ray opens a socket towards a server of Google's to learn one.
    local = {"num_cpus": processes, "_node_ip_address": "127.0.0.1"} if _is_here() else {}
    quiet = {"logging_level": logging.ERROR, "logging_config": ray.LoggingConfig(log_level="ERROR")}
    ended_by = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(os.environ.get("RAY_ADDRESS") or "local", include_dashboard=False, log_to_driver=log, **quiet, **local)
        if threading.current_thread() is threading.main_thread():  # no other may
            signal.signal(signal.SIGTERM, ended_by)  # Ray's own way to end is a crash
        yield
    finally:
        ray.shutdown()


def choose_gpus(processes: int, device: str | None) -> bool:
    """Choose whether each process takes a GPU; where there is too little for all, they wait for more, and this says so.

    Args:
        processes: Each takes a core too.
        device: "cpu", or nothing: GPUs, where there are some.

    Raises:
        UserError: The cluster is of this machine alone, where no more will come.
    """
    import ray

    there = {kind: int(ray.cluster_resources().get(kind, 0)) for kind in ("CPU", "GPU")}
    on_gpu = not device and there["GPU"] > 0
    for kind in ("CPU", "GPU") if on_gpu else ("CPU",):
        if there[kind] < processes:
            text = f"--ray {processes}: each process takes a {kind}, and Ray has {there[kind]}"
            if _is_here():
                raise UserError(f"{text}: give --ray {there[kind]}, or --device cpu")
            logger.warning(f"{text}: the training waits for more")
    return on_gpu


def _is_here() -> bool:
    """Whether Ray is started for the command, on this machine alone."""
    return os.environ.get("RAY_ADDRESS", "") in {"", "local"}
