"""Checkpoints: tensors and plain types, readable with `weights_only=True`, written atomically."""

from __future__ import annotations

import hashlib
import logging
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import moat_det
from moat_det.backbones.weights.files import PRETRAINING
from moat_det.data.images.intensity import Intensity
from moat_det.detector.base import BaseDetector
from moat_det.detector.build import build_model
from moat_det.engine.trained import Trained
from moat_det.errors import UserError
from moat_det.files import atomic_path, check_readable, is_whole_archive
from moat_det.messages import one_line

logger = logging.getLogger(__name__)

FORMAT = "moat_det checkpoint 2"
_READABLE = {FORMAT, "moat_det checkpoint 1"}

# Bytes of an archive for a tensor's name and place, and for what is none.
_BESIDE_EACH, _BESIDE_TENSORS = 1024, 2**20


@dataclass(frozen=True)
class Checkpoint:
    """What a file of ours holds.

    Attributes:
        config: The model's configuration, as `build_model` takes it.
        names: Class index -> name.
        weights: The averaged (EMA) weights, float32, by name.
        args: The engine's arguments of the training.
        metrics: The last validation's figures.
        training: What resuming needs (epoch, raw weights, optimizer, ...); None once the training has ended.
        channels: Bands of the images.
        intensity: How images of more than 8 bits became the input, as `Intensity.to_dict` gives it.
        chosen_on: As `Trained` has it.
    """

    config: dict[str, Any]
    names: dict[int, str]
    weights: dict[str, Tensor]
    args: dict[str, Any]
    metrics: dict[str, Any]
    training: dict[str, Any] | None = None
    channels: int = 3
    # Files of format 1 say nothing: their models were trained on the high byte.
    intensity: dict[str, Any] = field(default_factory=Intensity("full").to_dict)
    chosen_on: str | None = None  # files from before operating points do not say

    @property
    def trained(self) -> Trained:
        """What the model was trained on; `imgsz` of the arguments is one number, or height and width."""
        size = self.args.get("imgsz")
        if size is not None:
            height, width = (size, size) if isinstance(size, int) else size
            size = height, width
        return Trained(size, Intensity.from_dict(self.intensity), self.chosen_on)

    @property
    def size(self) -> int:
        """Bytes that its file takes, or somewhat more."""
        return size_of_file([self.weights, self.training])

    def build(self) -> BaseDetector:
        """Give the model with its weights, float32, on the CPU, in evaluation mode.

        Raises:
            UserError: The weights do not fit the configuration.
        """
        model = build_model(self.config, len(self.names), dict(self.names), channels=self.channels)
        try:
            model.load_state_dict(self.weights)
        except RuntimeError as error:
            raise UserError(f"the weights do not fit their configuration: {one_line(error)}") from None
        return model.float().eval()

    def save(self, path: str | Path) -> None:
        """Write to `path` atomically.

        Raises:
            OSError: The file cannot be written; what stood at `path` still does.
        """
        write_content(path, FORMAT, {name: getattr(self, name) for name in self.__dataclass_fields__})


def is_checkpoint(path: str | Path) -> bool:
    """Whether the file at `path` is a checkpoint of ours, of this version or another; no tensor is read."""
    try:
        return zipfile.is_zipfile(path) and _is_ours(torch.load(path, map_location="cpu", weights_only=True, mmap=True))
    except Exception:  # what another file makes torch raise is of every kind
        return False


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint; nothing in the file is executed.

    Raises:
        UserError: There is no such file, or it is none of ours, or it is damaged.
    """
    path = Path(path)
    content = read_content(path)
    if isinstance(content, dict) and str(content.get("format", "")).startswith(PRETRAINING):
        raise UserError(
            f"{path} holds a backbone that was trained alone, and no detector: start one from it with moat train "
            f"--weights {path}"
        )
    if not _is_ours(content):
        raise UserError(f"{path} is no checkpoint of moat_det: give a best.pt or last.pt that a training wrote")
    if content["format"] not in _READABLE:
        raise UserError(f"{path} is a '{content['format']}', this version reads '{FORMAT}': update moat_det")
    return Checkpoint(**{name: content[name] for name in Checkpoint.__dataclass_fields__ if name in content})


def write_content(path: str | Path, format: str, content: Mapping[str, Any]) -> None:
    """Write what a training leaves, of whatever kind it is, atomically: `read_content` reads it.

    Args:
        path: The file.
        format: Kind and version of the content.
        content: By name, made plain types and tensors.

    Raises:
        OSError: The file cannot be written; what stood at `path` still does.
    """
    made = {name: plain(value) for name, value in content.items()}
    with atomic_path(path) as temporary:
        torch.save({"format": format, "version": moat_det.__version__, **made}, temporary)


def size_of_file(content: Any) -> int:
    """Give the bytes that a file of `content` takes, or somewhat more: tensors are nearly all of it.

    Args:
        content: Nested mappings and sequences of tensors.
    """
    return _BESIDE_TENSORS + sum(tensor.nbytes + _BESIDE_EACH for tensor in _tensors(content))


def read_content(path: Path) -> Any:
    """Read what a training wrote to a file, of whatever kind it was; nothing in the file is executed.

    Raises:
        UserError: There is no such file, or it is damaged, or holds code.
    """
    check_readable(path, f"no weights at {path}: give the path of a best.pt or last.pt that training wrote")
    damaged = UserError(f"{path} is no checkpoint, or a damaged one: give a best.pt or last.pt that a training wrote")
    if not is_whole_archive(path):
        raise damaged
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"{path} is no checkpoint of moat_det (it holds pickled code, as the engine's own do): "
            "give a best.pt or last.pt that a training wrote"
        ) from None
    except Exception:  # what a damaged file makes torch raise is of every kind
        raise damaged from None


def _is_ours(content: Any) -> bool:
    return isinstance(content, dict) and str(content.get("format", "")).startswith("moat_det checkpoint")


def load_model(path: str | Path) -> BaseDetector:
    """Give the model of the checkpoint at `path`; raises `UserError` as `load_checkpoint` does."""
    return load_checkpoint(path).build()


def weights_digest(model: BaseDetector) -> str:
    """Give what tells a model's weights from others, in whatever file they are."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def newest_run(project: Path) -> Path:
    """Give the `last.pt` below `project` that was written last, of those that are whole and of no finished training.

    Raises:
        UserError: There is none.
    """
    for path in sorted(project.glob("**/weights/last.pt"), key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            if load_checkpoint(path).training is not None:
                return path
        except UserError as error:
            logger.warning(f"{error}; looking for an older run")
    raise UserError(
        f"--resume: no unfinished weights/last.pt below {project}; give a path: --resume RUN/weights/last.pt"
    )


def _tensors(value: Any) -> Iterator[Tensor]:
    """Give the tensors in nested mappings and sequences."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (Mapping, list, tuple)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(item)


def plain(value: Any) -> Any:
    """Reduce `value` to tensors and types that JSON knows, so that `weights_only=True` reads it back.

    Args:
        value: Nested mappings and sequences; leaves of other types become text.
    """
    if isinstance(value, Tensor):
        # Contiguous and a copy: neither the memory format nor a shared storage goes into the file.
        return value.detach().cpu().clone(memory_format=torch.contiguous_format)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
