"""Ray, where it is installed: found where it runs, or started for a command and ended after it."""

from __future__ import annotations

import importlib
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from moat_det.errors import UserError


def check_installed(part: str) -> None:
    """Raise `UserError` where a part of Ray is missing, "data" or "train"."""
    # Before Ray is imported, here and in its processes, which inherit it: nothing is sent.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        importlib.import_module(f"ray.{part}")
    except ImportError:
        raise UserError(f"--ray needs Ray: pip install 'moat_det[ray]' (or pip install 'ray[{part}]')") from None


@contextmanager
def cluster(cores: int) -> Iterator[None]:
    """Take the cluster of `RAY_ADDRESS`, or start one on this machine alone and end it afterwards.

    Args:
        cores: That one on this machine shall have; more than there are is the user's wish.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    # With no address of its own Ray opens a socket towards a server of Google's to learn one.
    local = {} if address else {"num_cpus": cores, "_node_ip_address": "127.0.0.1"}
    ended_by = signal.getsignal(signal.SIGTERM)
    ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, **local)
    signal.signal(signal.SIGTERM, ended_by)  # Ray's own way to end is a crash
    try:
        yield
    finally:
        ray.shutdown()
