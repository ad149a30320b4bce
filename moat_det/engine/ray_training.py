"""Training in processes that Ray Train places, on one machine or a cluster, and starts again where one dies."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from moat_det.cores import available_cores, threads_of_each
from moat_det.engine.distributed.group import TIMEOUT, backend_of, follows
from moat_det.engine.ray_cluster import check_installed, cluster
from moat_det.errors import UserError

logger = logging.getLogger(__name__)

_STDOUT, _STDERR = 1, 2


def train(begin: Callable[[], None], go_on: Callable[[], None], last: Path, processes: int, device_type: str) -> None:
    """Train in several processes; where one dies, go on from the last checkpoint, as long as there is a newer one.

    Args:
        begin: The part of one process; it finds itself started as by `torchrun`.
        go_on: The same, from the last checkpoint.
        last: That checkpoint, `RUN/weights/last.pt` below a folder that is there; all processes see it by this path.
        processes: How many; each has a GPU, or its share of this machine's cores.
        device_type: "cuda" or "cpu".

    Raises:
        UserError: Ray is missing, or a process failed before there was a new checkpoint.
    """
    check_installed("train")
    os.environ["RAY_TRAIN_ENABLE_PRINT_PATCH"] = "0"  # what is kept from the screen would reach it
    from ray.train import RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    part, here, threads = begin, os.getcwd(), threads_of_each(processes)

    def work() -> None:
        if not follows():
            with said.open("ab") as file:
                for stream in (_STDOUT, _STDERR):
                    os.dup2(file.fileno(), stream)
        logging.getLogger().handlers.clear()  # Ray's would say all a second time,
        logging.getLogger("ray.train").setLevel(logging.CRITICAL)  # and an error with its traceback
        os.chdir(here)  # Ray's processes have folders of their own, and the user's paths begin in this one
        os.environ["OMP_NUM_THREADS"] = str(threads)
        part()

    on_gpu = device_type == "cuda"
    each = ScalingConfig(num_workers=processes, use_gpu=on_gpu, resources_per_worker={"CPU": 1 if on_gpu else threads})
    joined = TorchConfig(backend_of(device_type), timeout_s=int(TIMEOUT.total_seconds()))
    with (
        ThreadPoolExecutor(1) as beside,  # where Ray does not take Ctrl-C for itself
        cluster(max(available_cores(), processes * threads)),
        tempfile.TemporaryDirectory(prefix=".ray-", dir=last.parents[2]) as notes,
        _shown(Path(notes, "said.txt")) as said,
    ):
        while True:
            before = last.stat().st_mtime_ns if last.exists() else None
            try:
                run = RunConfig(storage_path=notes)
                trainer = TorchTrainer(work, torch_config=joined, scaling_config=each, run_config=run)
                beside.submit(trainer.fit).result()
                return
            except TrainingFailedError as error:
                if not last.exists() or last.stat().st_mtime_ns == before:
                    raise UserError(_reason(error)) from error
                logger.warning(f"{_reason(error)}; going on from {last}")
                part = go_on


@contextmanager
def _shown(file: Path) -> Iterator[Path]:
    """Print what processes write into a file as it comes."""
    file.touch()
    ended = threading.Event()

    def show() -> None:
        with file.open(newline="") as lines:
            while True:
                last_look = ended.wait(0.2)
                print(lines.read(), end="", flush=True)
                if last_look:
                    return

    thread = threading.Thread(target=show)
    thread.start()
    try:
        yield file
    finally:
        ended.set()
        thread.join()


def _reason(error: Exception) -> str:
    """Give what the first process that failed said, in a line."""
    failures = getattr(error, "worker_failures", {})
    rank, failure = min(failures.items(), default=(None, error))
    if isinstance(failure, UserError):
        return str(failure)
    return f"process {rank}: {' '.join(str(failure).split())[:200]}"
