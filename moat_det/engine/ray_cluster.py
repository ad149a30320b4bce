"""Ray, where it is installed: found where it runs, or started for a command and ended after it."""

from __future__ import annotations

import importlib
import logging
import os
import signal
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
    address = os.environ.get("RAY_ADDRESS") or "local"
    # With no address of its own Ray opens a socket towards a server of Google's to learn one.
    local = {"num_cpus": processes, "_node_ip_address": "127.0.0.1"} if address == "local" else {}
    ended_by = signal.getsignal(signal.SIGTERM)
    quiet = {"logging_level": logging.ERROR, "logging_config": ray.LoggingConfig(log_level="ERROR")}
    ray.init(address, include_dashboard=False, log_to_driver=log, **quiet, **local)
    signal.signal(signal.SIGTERM, ended_by)  # Ray's own way to end is a crash
    try:
        yield
    finally:
        ray.shutdown()


def count_gpus(processes: int) -> int:
    """Give the GPUs of the cluster; processes for which there are too few wait for more, and this says so.

    Raises:
        UserError: It is of this machine alone, where no more will come.
    """
    import ray

    there = int(ray.cluster_resources().get("GPU", 0))
    if 0 < there < processes:
        text = f"--ray {processes}: Ray has {there} GPU(s), and each process takes one"
        if not os.environ.get("RAY_ADDRESS"):
            raise UserError(f"{text}: give --ray {there}, or --device cpu")
        logger.warning(f"{text}: the training waits for more")
    return there
