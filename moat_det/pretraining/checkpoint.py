"""Checkpoints of a backbone's own training: tensors and plain types, read with `weights_only=True`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from moat_det.backbones.weights.files import PRETRAINING
from moat_det.data.images.intensity import Intensity
from moat_det.engine.checkpoint import read_content, write_content
from moat_det.errors import UserError

FORMAT = f"{PRETRAINING} 1"


@dataclass(frozen=True)
class BackboneCheckpoint:
    """What a file holds.

    Attributes:
        task: What the backbone learnt by (`Task.name`).
        backbone: The arguments of `create_backbone`, `name` among them.
        imgsz: Side of the images of the training, in pixels.
        mean: That of each band which the images were normalised by, in [0, 1].
        std: Likewise.
        intensity: How images of more than 8 bits became the input, as `Intensity.to_dict` gives it.
        settings: What else the task needs to use the model; of a classifier `names`, the classes in order, `view`, and
            `learnt`, what it learnt from.
        weights: The averaged (EMA) weights by name, float32; those of the backbone begin with "backbone.".
        metrics: The figures of the last validation, of which `best.pt` has the best.
        training: What resuming needs; None once the training has ended.
    """

    task: str
    backbone: dict[str, Any]
    imgsz: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    settings: dict[str, Any]
    weights: dict[str, Tensor]
    intensity: dict[str, Any] = field(default_factory=Intensity("full").to_dict)
    metrics: dict[str, float] = field(default_factory=dict)
    training: dict[str, Any] | None = None

    def save(self, path: str | Path) -> None:
        """Write to `path` atomically.

        Raises:
            OSError: The file cannot be written; what stood at `path` still does.
        """
        write_content(path, FORMAT, {each.name: getattr(self, each.name) for each in fields(self)})


def load_backbone_checkpoint(path: str | Path, task: str) -> BackboneCheckpoint:
    """Read a checkpoint of a task; nothing in the file is executed.

    Raises:
        UserError: There is no such file, it is damaged, or it is of something else.
    """
    content = read_content(Path(path))
    found = str(content.get("format", "")) if isinstance(content, dict) else ""
    if not found.startswith(PRETRAINING):
        raise UserError(f"{path} holds no backbone that was trained for {task}: give a best.pt or last.pt of one")
    if found != FORMAT:
        raise UserError(f"{path} is a '{found}', this version reads '{FORMAT}': update moat_det")
    if content["task"] != task:
        raise UserError(f"{path} is of a backbone that was trained for {content['task']}, not for {task}")
    return BackboneCheckpoint(**{each.name: content[each.name] for each in fields(BackboneCheckpoint)})


def load_unfinished(path: Path, task: str) -> tuple[BackboneCheckpoint, dict[str, Any]]:
    """Read the checkpoint of a run to resume, and what makes its task again.

    Raises:
        UserError: It is none of the task, or of a run that has ended.
    """
    checkpoint = load_backbone_checkpoint(path, task)
    if checkpoint.training is None:
        raise UserError(f"{path} is of a finished training: start a new one from it with --weights {path}")
    return checkpoint, checkpoint.training["task"]
