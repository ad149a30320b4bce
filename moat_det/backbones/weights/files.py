"""Files that hold a backbone's weights, all behind one class: names, shapes, and reading one tensor at a time."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from moat_det.backbones.tensorflow import open_checkpoint
from moat_det.backbones.weights.layout import AVERAGE, is_of_training, variable_name, variable_view
from moat_det.errors import UserError
from moat_det.files import check_readable

FORMAT = "moat_det backbone 1"
"""`format` in the metadata of a .safetensors file of ours."""

PRETRAINING = "moat_det pretraining"
"""How `format` begins in the checkpoints of a backbone that was trained alone."""

_DETECTOR = "moat_det checkpoint"
_BACKBONE_IN_DETECTOR = "model.backbone."
_BACKBONE_IN_PRETRAINING = "backbone."
HEAD = ("final_layer_norm.", "logits_head.")
"""How the names of a classifier's own tensors begin, which are those of MOAT's."""

_WRAPPERS = ("state_dict", "model")  # in which trainers put a state dict, beside epochs and the like


@dataclass(frozen=True)
class WeightFile:
    """An open file whose tensors have the names and layouts of our state dicts.

    Attributes:
        path: The file.
        shapes: Shape of every tensor by its name in the file.
        read: Gives the tensor of a name.
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], Tensor]

    def read_numbers(self, name: str) -> Tensor:
        """Give the tensor of a name; raises `UserError` where not all in it are numbers."""
        tensor = self.read(name)
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise UserError(
                f"{self.path}: {name} holds NaN or infinity: the training of these weights failed; give others"
            )
        return tensor

    def name(self, key: str) -> str:
        """Give the name in the file of a weight of ours; the file need not hold it."""
        return key

    def view(self, key: str, tensor: Tensor) -> Tensor:
        """Give a tensor of ours in the file's layout, sharing its memory."""
        return tensor

    def is_extra(self, name: str, known: Container[str]) -> bool:
        """Whether a name that is none of the `known` ones may be passed over in silence."""
        return name.endswith(".num_batches_tracked")


class TensorFlowFile(WeightFile):
    """An open official checkpoint. A weight of which it holds nothing but the moving average is that average."""

    def name(self, key: str) -> str:
        """As in `WeightFile`."""
        name = variable_name(key)
        return name + AVERAGE if name not in self.shapes and name + AVERAGE in self.shapes else name

    def view(self, key: str, tensor: Tensor) -> Tensor:
        """As in `WeightFile`."""
        return variable_view(key, tensor)

    def is_extra(self, name: str, known: Container[str]) -> bool:
        """As in `WeightFile`."""
        return is_of_training(name, known)


@contextmanager
def open_weights(path: Path) -> Iterator[WeightFile]:
    """Open a .safetensors file, a .pt file (a backbone's state dict, or what we trained), or an official checkpoint.

    Nothing in the file is executed.

    Args:
        path: The file; of an official checkpoint the folder, the prefix, the `.index` or the `.tar.gz`.

    Raises:
        UserError: There is no such file, or it is damaged or none of these.
    """
    if path.suffix == ".safetensors":
        with _open_safetensors(path) as file:
            yield file
    elif path.suffix in {".pt", ".pth", ".bin"}:
        tensors = _load_torch(path)
        yield WeightFile(path, {name: tuple(t.shape) for name, t in tensors.items()}, tensors.__getitem__)
    else:
        with open_checkpoint(path) as checkpoint:
            shapes = {name: info.shape for name, info in checkpoint.variables.items()}
            yield TensorFlowFile(path, shapes, lambda name: torch.from_numpy(checkpoint.read(name)))


def is_pretraining(path: str | Path) -> bool:
    """Whether the file at `path` is a checkpoint of a backbone that was trained alone; no tensor is read."""
    try:
        if not zipfile.is_zipfile(path):
            return False
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return isinstance(content, dict) and str(content.get("format", "")).startswith(PRETRAINING)
    except Exception:  # what another file makes torch raise is of every kind
        return False


@contextmanager
def _open_safetensors(path: Path) -> Iterator[WeightFile]:
    try:
        opened = safe_open(path, framework="pt")
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as safetensors ({error}): fetch or convert it anew") from None
    with opened as tensors:
        found = (tensors.metadata() or {}).get("format", "")
        if found.startswith("moat_det ") and found != FORMAT:
            raise UserError(f"{path} is a '{found}', this version reads '{FORMAT}': update moat_det")
        shapes = {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
        yield WeightFile(path, shapes, tensors.get_tensor)


def _load_torch(path: Path) -> dict[str, Tensor]:
    check_readable(path, f"no weights at {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError:
        raise UserError(
            f"{path} holds more than tensors (pickled code, as the engine's own checkpoints do): "
            "give a state dict, or a best.pt or last.pt that a training wrote"
        ) from None
    except Exception:  # what a damaged file makes torch raise is of every kind
        raise UserError(f"{path} is damaged, or no checkpoint of torch: fetch it anew") from None
    if isinstance(content, dict) and str(content.get("format", "")).startswith(_DETECTOR):
        weights = content.get("weights")
        content = {
            name.removeprefix(_BACKBONE_IN_DETECTOR): tensor
            for name, tensor in (weights if isinstance(weights, dict) else {}).items()
            if str(name).startswith(_BACKBONE_IN_DETECTOR)
        }
    elif isinstance(content, dict) and str(content.get("format", "")).startswith(PRETRAINING):
        weights = content.get("weights")
        content = {
            name.removeprefix(_BACKBONE_IN_PRETRAINING): tensor
            for name, tensor in (weights if isinstance(weights, dict) else {}).items()
            if str(name).startswith((_BACKBONE_IN_PRETRAINING, *HEAD))
        }
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict) and content[wrapper]:
            content = content[wrapper]
    if not isinstance(content, dict) or not all(
        isinstance(n, str) and isinstance(t, Tensor) for n, t in content.items()
    ):
        raise UserError(f"{path} is neither a backbone's state dict nor a checkpoint that a training wrote")
    if not content:
        raise UserError(f"{path} holds no weights of a MOAT backbone")
    return content
