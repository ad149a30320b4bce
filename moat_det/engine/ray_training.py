"""Training in processes that Ray Train places, on one machine or a cluster, and starts again where one dies."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from moat_det.cores import asked_threads, threads_of_each
from moat_det.engine.checkpoint import load_checkpoint
from moat_det.engine.distributed.group import TIMEOUT, backend_of
from moat_det.engine.model import MOAT
from moat_det.engine.ray_cluster import check_installed, choose_gpus, cluster
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

    here, asked = os.getcwd(), asked_threads()
    with (
        # In the folder that the user's paths begin in, which all nodes see.
        tempfile.TemporaryDirectory(prefix=".ray-", dir=here, ignore_cleanup_errors=True) as notes,
        ThreadPoolExecutor(1) as beside,  # where Ray does not take Ctrl-C for itself
        cluster(processes, log=True),
    ):
        run = Path(notes, "run.txt")

        def note(trainer: Any) -> None:
            # Again where the batch was halved, but not where there is a checkpoint then.
            if trainer.newest_checkpoint() is None and trainer.group.leads:
                last = Path(trainer.last).resolve()
                run.write_text(f"{_written(last)} {last}", encoding="utf-8")

        def work() -> None:
            logging.getLogger().handlers.clear()  # Ray's would say all a second time
            os.chdir(here)
            os.environ["OMP_NUM_THREADS"] = str(threads_of_each(int(os.environ["LOCAL_WORLD_SIZE"]), asked))
            if last := _last(run):
                MOAT(str(last)).train(resume=str(last), device=device)
            else:
                begin(on_train_start=note)

        on_gpu = choose_gpus(processes, device)
        trainer = TorchTrainer(
            work,
            torch_config=TorchConfig(backend_of("cuda" if on_gpu else "cpu"), timeout_s=int(TIMEOUT.total_seconds())),
            scaling_config=ScalingConfig(num_workers=processes, use_gpu=on_gpu, resources_per_worker={"CPU": 1}),
            run_config=RunConfig(storage_path=notes, logging_config=LoggingConfig("CRITICAL")),
        )
        before, ended = 0, False
        while not ended:
            try:
                beside.submit(trainer.fit).result()
                return
            except TrainingFailedError as error:
                last, reason = _last(run), _reason(error)
                if last is None or _written(last) == before:
                    again = f"; go on with --resume {last}" if last else ""
                    raise UserError(reason + again) from error
                before, ended = _written(last), load_checkpoint(last).training is None
                logger.warning(f"{reason}; {'the training had ended by then:' if ended else 'going on from'} {last}")


def _last(run: Path) -> Path | None:
    """Give the last checkpoint of the run that is noted in a file, where it has written one."""
    if not run.exists():
        return None
    before, _, path = run.read_text(encoding="utf-8").partition(" ")
    return None if _written(Path(path)) == int(before) else Path(path)


def _written(file: Path) -> int:
    """Give when a file was written, in nanoseconds; 0 where there is none."""
    return file.stat().st_mtime_ns if file.exists() else 0


def _reason(error: Exception) -> str:
    """Give what the first process that failed said, in a line."""
    failures = getattr(error, "worker_failures", {None: getattr(error, "controller_failure", error)})
    rank = min(failures)
    if isinstance(failures[rank], UserError):
        return str(failures[rank])
    who = "Ray" if rank is None else f"process {rank}"
    first = " ".join(str(failures[rank]).split()) or "no reason given"
    return f"{who} failed with {type(failures[rank]).__name__}: {first[:160].rstrip('.')}"
