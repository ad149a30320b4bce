"""Training in processes that Ray Train places, on one machine or a cluster, and starts again where one dies."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from moat_det.cores import threads_of_each
from moat_det.engine.checkpoint import load_checkpoint
from moat_det.engine.distributed.group import TIMEOUT, backend_of
from moat_det.engine.model import MOAT
from moat_det.engine.ray_cluster import check_installed, cluster, count_gpus
from moat_det.errors import UserError

logger = logging.getLogger(__name__)


def train(begin: Callable[..., None], device: str | None, processes: int) -> None:
    """Train in several processes; where one dies, go on from the last checkpoint, as long as there is a newer one.

    Args:
        begin: The part of one process, which finds itself started as by `torchrun`; takes callbacks of the training by
            event.
        device: "cpu", or None: a GPU for each process where Ray has any.
        processes: How many.

    Raises:
        UserError: Ray is missing, has fewer GPUs on this machine than processes, or a process failed before there was
            a new checkpoint.
    """
    check_installed("train")
    os.environ["RAY_TRAIN_ENABLE_PRINT_PATCH"] = "0"  # what is kept from the screen would reach it
    from ray.train import LoggingConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    here, threads = os.getcwd(), os.environ["OMP_NUM_THREADS"]
    with (
        # In the folder that the user's paths begin in, which all nodes see.
        tempfile.TemporaryDirectory(prefix=".ray-", dir=here, ignore_cleanup_errors=True) as notes,
        ThreadPoolExecutor(1) as beside,  # where Ray does not take Ctrl-C for itself
        cluster(processes, log=True),
    ):
        run = Path(notes, "run.txt")

        def note(trainer: Any) -> None:
            if trainer.group.leads:
                run.write_text(str(Path(trainer.last).resolve()), encoding="utf-8")

        def work() -> None:
            logging.getLogger().handlers.clear()  # Ray's would say all a second time
            os.chdir(here)
            os.environ["OMP_NUM_THREADS"] = threads
            os.environ["OMP_NUM_THREADS"] = str(threads_of_each(int(os.environ["LOCAL_WORLD_SIZE"])))
            if last := _last(run):
                MOAT(str(last)).train(resume=str(last), device=device)
            else:
                begin(on_model_save=note)

        on_gpu = device is None and count_gpus(processes) > 0
        trainer = TorchTrainer(
            work,
            torch_config=TorchConfig(backend_of("cuda" if on_gpu else "cpu"), timeout_s=int(TIMEOUT.total_seconds())),
            scaling_config=ScalingConfig(num_workers=processes, use_gpu=on_gpu, resources_per_worker={"CPU": 1}),
            run_config=RunConfig(storage_path=notes, logging_config=LoggingConfig("CRITICAL")),
        )
        before, ended = None, False
        while not ended:
            try:
                beside.submit(trainer.fit).result()
                return
            except TrainingFailedError as error:
                last, reason = _last(run), _reason(error)
                if last is None or (written := last.stat().st_mtime_ns) == before:
                    raise UserError(reason) from error
                before, ended = written, load_checkpoint(last).training is None
                logger.warning(f"{reason}; {'the training had ended by then:' if ended else 'going on from'} {last}")


def _last(run: Path) -> Path | None:
    """Give the last checkpoint of the run that is noted in a file, where there is one."""
    last = Path(run.read_text(encoding="utf-8")) if run.exists() else None
    return last if last and last.exists() else None


def _reason(error: Exception) -> str:
    """Give what the first process that failed said, in a line."""
    failures = getattr(error, "worker_failures", {None: getattr(error, "controller_failure", error)})
    rank = min(failures)
    if isinstance(failures[rank], UserError):
        return str(failures[rank])
    first = (str(failures[rank]).strip().splitlines() or ["no reason given"])[0].rstrip(".")
    return f"process {rank} failed with {type(failures[rank]).__name__}: {first}"
