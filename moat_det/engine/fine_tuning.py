"""What a training starts from, and the backbone held still for its first epochs."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from moat_det.backbones.weights import load_pretrained
from moat_det.detector.base import BaseDetector
from moat_det.engine.checkpoint import is_checkpoint, load_model
from moat_det.errors import UserError
from moat_det.messages import some

logger = logging.getLogger(__name__)

_LISTED = 6
_BINS = re.compile(r"model\.head\.cv2\.\d+\.2\.")


def set_backbone_training(backbone: nn.Module, optimizer: torch.optim.Optimizer, trains: bool) -> None:
    """Hold the backbone still, or let it train, from the start of an epoch on.

    Held still, it is in evaluation mode: its BN statistics stay, no path is dropped, and no graph is built through it.
    Parameters without a gradient are skipped by the optimizer: they neither move nor decay.

    Args:
        backbone: In training mode.
        optimizer: Knows which parameters train at all; those that `--freeze` holds are not in it.
        trains: Whether the backbone trains.
    """
    optimized = {parameter for group in optimizer.param_groups for parameter in group["params"]}
    for parameter in backbone.parameters():
        parameter.requires_grad_(trains and parameter in optimized)
    if not trains:
        backbone.eval()


def load_weights(model: BaseDetector, weights: str, *, remap_classes: bool, by_order: bool = False) -> None:
    """Start `model` from `weights`, and say in two lines what was loaded, what dropped, and what is left at random.

    Args:
        model: Changed in place. What does not fit, or is not in the file, stays as it is.
        weights: A checkpoint of a whole detector of ours; or what `load_pretrained` takes ("imagenet", a file of
            backbone weights), which goes into the backbone alone.
        remap_classes: Where a detector's classes are others, take the scores of a class by its name; where it has as
            many and none of that name, in their order.
        by_order: As `load_pretrained` takes it.

    Raises:
        UserError: The weights cannot be had, or are not for this model.
    """
    if is_checkpoint(weights) and by_order:
        raise UserError(f"--weights-by-order: {weights} is a detector of ours, which goes by names; leave it out")
    if is_checkpoint(weights):
        lines = _load_detector(model, weights, remap_classes)
    elif model.backbone is not None:
        report = load_pretrained(model.backbone, weights, by_order=by_order)
        lines = replace(report, notes=(*report.notes, "neck and head left at random")).lines()
    else:
        raise UserError(
            f"--weights {weights}: {model.describe()} has no MOAT backbone: it starts from a best.pt that "
            "a training wrote for it, or from random weights"
        )
    for line in lines:
        logger.info(line)


def _load_detector(model: BaseDetector, path: str, remap_classes: bool) -> tuple[str, str]:
    source = load_model(path)
    own, other = model.state_dict(), source.state_dict()
    kernel = model.first_kernel
    if kernel is not None and kernel == source.first_kernel:
        other[kernel] = _for_bands(other[kernel], own[kernel].shape[1])
    # Where the bins of the box distributions stand for other distances, what was learnt of them says nothing here.
    other_bins = model.yaml.get("head") != source.yaml.get("head")
    fitting = [
        name
        for name in other.keys() & own.keys()
        if own[name].shape == other[name].shape and not (other_bins and _BINS.match(name))
    ]
    if len(fitting) < len(own) / 2:
        raise UserError(
            f"{path} holds a {source.describe()}, of which only {len(fitting)} of {len(own)} tensors fit this "
            f"{model.describe()}: give the same --backbone or --model that it was trained with"
        )
    held = set(other)
    if remap_classes:
        model._remap_cls_by_names(other, source, verbose=False)  # takes the scores that it copies out of `other`
    remapped = held - other.keys()
    loaded = {name: other[name] for name in fitting if name in other}
    model.load_state_dict(loaded, strict=False)
    dropped = _modules(other.keys() - loaded.keys())
    random = _modules(own.keys() - loaded.keys() - remapped)
    if remapped:
        dropped += _scores_missing_in(model, source)
        random += _scores_missing_in(source, model)
    strange = _scores_missing_in(model, source)
    by_number = strange and len(strange) == len(source.names) == len(model.names) and not remapped
    renamed = f"; {_listed(strange)} are those of {_listed(list(model.names.values()))} now" if by_number else ""
    return (
        f"detector: {len(loaded) + len(remapped)} of {len(own)} tensors loaded from {path}",
        f"detector: dropped {_listed(dropped)}; left at random {_listed(random)}{renamed}",
    )


def _for_bands(kernel: Tensor, bands: int) -> Tensor:
    """Give each band of other images the mean over the bands that the first kernel knows, as `load_pretrained` does."""
    if kernel.shape[1] == bands:
        return kernel
    return (kernel.mean(1, keepdim=True) * kernel.shape[1] / bands).repeat(1, bands, 1, 1)


def _scores_missing_in(model: BaseDetector, other: BaseDetector) -> list[str]:
    """Give the scores of those classes of `other` that `model` does not know, by names as the engine compares them."""
    known = {name.strip().lower() for name in model.names.values()}
    return [f"the scores of {name}" for name in other.names.values() if name.strip().lower() not in known]


def _modules(keys: Iterable[str]) -> list[str]:
    """Give the modules that the keys of a state dict belong to."""
    return sorted({key.removeprefix("model.").rpartition(".")[0] for key in keys})


def _listed(parts: Sequence[str]) -> str:
    return some(parts, _LISTED) or "nothing"
