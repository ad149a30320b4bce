"""Where the figures of a training go beside `results.csv`, which is always written: only to what the user names.

TensorBoard gets the rows of `results.csv`, no more. The others are the engine's own integrations, held to this machine
unless the user's environment says otherwise.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ultralytics.engine.trainer import BaseTrainer

from moat_det.errors import UserError
from moat_det.evaluation import CocoEvaluator, confusion_matrix
from moat_det.evaluation.inspection.rule import THRESHOLD
from moat_det.messages import suggest

logger = logging.getLogger(__name__)

CSV = "csv"
TENSORBOARD = "tensorboard"


@dataclass(frozen=True)
class Integration:
    """A logger of third parties that the engine knows.

    Attributes:
        module: Of the engine's callbacks, below `ultralytics.utils.callbacks`.
        package: That it imports.
        install: What pip installs.
        note: Where it writes, and what lets it send.
        offline: Variables of the environment that keep it from the network; the user's own values stay.
    """

    module: str
    package: str
    install: str
    note: str
    offline: Mapping[str, str] = field(default_factory=dict)


INTEGRATIONS = {
    "mlflow": Integration(
        "mlflow",
        "mlflow",
        "'moat_det[mlflow]'",
        "in MLflow's local store of the current folder; a server gets them with MLFLOW_TRACKING_URI",
        {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"},
    ),
    "wandb": Integration(
        "wb",
        "wandb",
        "'moat_det[wandb]'",
        "offline in the run's folder; 'wandb sync' sends them, or WANDB_MODE=online while it trains",
        {"WANDB_MODE": "offline"},
    ),
    "comet": Integration(
        "comet",
        "comet_ml",
        "comet_ml",
        "offline in an archive; 'comet upload' sends it, or COMET_START_ONLINE=1 while it trains",
        {"COMET_START_ONLINE": "0"},
    ),
    "clearml": Integration(
        "clearml",
        "clearml",
        "clearml",
        "offline in an archive; CLEARML_OFFLINE_MODE=0 sends them while it trains",
        {"CLEARML_OFFLINE_MODE": "1"},
    ),
    "dvc": Integration(
        "dvc", "dvclive", "dvclive", "in DVCLive's files", {"DVC_NO_ANALYTICS": "true", "DVC_STUDIO_OFFLINE": "true"}
    ),
    "raytune": Integration("raytune", "ray.tune", "'ray[tune]'", "to the Ray Tune session that it runs in"),
}

NAMES = (CSV, TENSORBOARD, *INTEGRATIONS)


def check_loggers(names: Sequence[str]) -> None:
    """Check that there are loggers of these names, and that they are installed.

    Raises:
        UserError: There is none, or its package is missing.
    """
    for name in names:
        if name not in NAMES:
            raise UserError(
                f"--log {name}: there is no such logger{suggest(name, NAMES)}; there are {', '.join(NAMES)}"
            )
        package, install = TENSORBOARD, "'moat_det[tensorboard]'"
        if name in INTEGRATIONS:
            package, install = INTEGRATIONS[name].package, INTEGRATIONS[name].install
        if name != CSV and not _is_installed(package):
            raise UserError(f"--log {name}: {package} is not installed: pip install {install}")


def confusion_for_loggers(evaluator: CocoEvaluator) -> SimpleNamespace:
    """Give the confusion matrix with the attributes of the engine's, which its loggers ask for."""
    names = dict(enumerate(evaluator.labels.values()))
    return SimpleNamespace(matrix=confusion_matrix(evaluator, THRESHOLD), names=names)


class Loggers:
    """The loggers of a training.

    Args:
        trainer: Whose figures they get; its folder is there.
        names: Of `NAMES`, checked.
    """

    def __init__(self, trainer: BaseTrainer, names: Sequence[str]) -> None:
        self._trainer, self._names = trainer, tuple(dict.fromkeys(names))
        self._board: Any = None
        self._guard = _Guard(TENSORBOARD)
        for name in self._names:
            if name in INTEGRATIONS:
                _attach(trainer, name, INTEGRATIONS[name])
        trainer.add_callback("teardown", lambda _: self._close())

    def write(self, row: Mapping[str, float]) -> None:
        """Write the figures of an epoch, as `results.csv` has them, where a row of it is what the logger gets."""
        if TENSORBOARD in self._names:
            self._guard(self._write_to_board, row)

    def _write_to_board(self, row: Mapping[str, float]) -> None:
        epoch = self._trainer.epoch + 1
        if self._board is None:
            self._board = _open_board(self._trainer.save_dir, epoch)
        for name, value in row.items():
            self._board.add_scalar(name, value, epoch)
        self._board.flush()

    def _close(self) -> None:
        board, self._board = self._board, None
        if board is not None:
            self._guard(board.close)


def _open_board(folder: Path, epoch: int) -> Any:
    """Open a file of events; what a run that was cut wrote of this epoch and later ones no longer counts."""
    from torch.utils.tensorboard import SummaryWriter

    logger.info(f"--log tensorboard: look at it with tensorboard --logdir {folder}")
    return SummaryWriter(str(folder), purge_step=epoch)


def _attach(trainer: BaseTrainer, name: str, integration: Integration) -> None:
    """Let an integration of the engine follow a training whose first event has passed."""
    for variable, value in integration.offline.items():
        os.environ.setdefault(variable, value)
    callbacks = import_module(f"ultralytics.utils.callbacks.{integration.module}").callbacks
    if not callbacks:
        raise UserError(f"--log {name}: {integration.package} cannot be imported: pip install {integration.install}")
    logger.info(f"--log {name}: {integration.note}")
    guard = _Guard(name)
    for event, callback in callbacks.items():
        trainer.add_callback(event, partial(guard, callback))
    if first := callbacks.get("on_pretrain_routine_start"):
        guard(first, trainer)


class _Guard:
    """Calls a logger until it fails: trouble with it shall not end a training."""

    def __init__(self, name: str) -> None:
        self._name, self._failed = name, False

    def __call__(self, callback: Callable[..., None], *args: Any) -> None:
        if self._failed:
            return
        try:
            callback(*args)
        except Exception as error:  # of third parties: of any kind
            self._failed = True
            reason = " ".join(str(error).split()) or type(error).__name__
            logger.warning(f"--log {self._name}: failed, and gets no more of this training: {reason}")


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of the package that it lies in
        return False
