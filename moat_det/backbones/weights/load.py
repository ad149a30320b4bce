"""Fits what a file holds into a backbone: everything by name and shape, nothing in silence."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from moat_det.backbones.moat.attention import Attention
from moat_det.backbones.moat.backbone import MOATBackbone
from moat_det.backbones.weights.files import WeightFile
from moat_det.backbones.weights.identify import classes_of, identify, variant_name
from moat_det.backbones.weights.layout import AVERAGE
from moat_det.backbones.weights.report import STATISTICS, LoadReport, part
from moat_det.errors import UserError
from moat_det.messages import some

logger = logging.getLogger(__name__)

_KERNEL = "stem.conv_0.weight"
_LOGITS = ("logits_head.weight", "logits_head.bias")
_HEAD = (*_LOGITS, "final_layer_norm.weight", "final_layer_norm.bias")
_LISTED = 20


@torch.no_grad()
def load(backbone: MOATBackbone, file: WeightFile) -> LoadReport:
    """Copy a file's weights into a backbone, one tensor at a time.

    A head of another number of classes is dropped, and so are the head and the position tables where the
    backbone has none. The first kernel follows the backbone's bands: for other than three, each has the mean
    over RGB times 3 / bands, so that the bands of a gray image give what they gave as RGB.

    Names and shapes are checked before anything is written. Should reading fail halfway, by a wrong checksum
    for example, some of the backbone's weights are already the file's.

    Raises:
        UserError: The file is of another variant, holds something unknown, lacks something, has a tensor of
            another shape, or cannot be read.
    """
    weights = {key: t for key, t in backbone.state_dict().items() if not key.endswith(".num_batches_tracked")}
    names = {key: file.name(key) for key in dict.fromkeys((*weights, *_HEAD, *_table_keys(backbone)))}
    held = [key for key, name in names.items() if name in file.shapes]
    _check_variant(backbone, file)
    _check_names(names, weights, held, file)

    targets = {key: weights[key] for key in held if key in weights}
    notes = []
    classes = classes_of(file)
    if backbone.has_head and classes not in (None, len(weights[_LOGITS[1]])):
        notes.append(f"the file's head has {classes} classes, the backbone's {len(weights[_LOGITS[1]])}")
        targets = {key: target for key, target in targets.items() if key not in _LOGITS}
    kernel, rgb = weights[_KERNEL], None
    if kernel.shape[1] != 3:
        rgb = kernel.new_empty(kernel.shape[0], 3, *kernel.shape[2:])
        if file.shapes[names[_KERNEL]] == file.view(_KERNEL, rgb).shape:
            targets[_KERNEL] = rgb
            notes.append(f"the first kernel's RGB averaged for {kernel.shape[1]} band(s)")
    averages = sum(names[key].endswith(AVERAGE) for key in targets)
    if averages:
        notes.append(f"{averages} tensors are moving averages, the file lacks the plain ones")

    _check_shapes(names, targets, file)
    for key, target in targets.items():
        tensor = file.read_numbers(names[key])
        if not tensor.is_floating_point():
            raise UserError(f"{file.path}: {names[key]} holds {tensor.dtype}, not floating-point numbers")
        file.view(key, target).copy_(tensor)
    if targets[_KERNEL] is rgb:
        kernel.copy_(rgb.mean(1, keepdim=True) * 3 / kernel.shape[1])

    random = tuple(key for key in weights if key not in targets)
    if any(part(key) == STATISTICS for key in random):
        logger.warning(
            f"{file.path} lacks batch norm's moving statistics, as the first official release does: in evaluation, "
            "classification and detection with these weights are WRONG until training has estimated them anew; the "
            "newer archives (..._w_position_embedding, ..._wo_position_embedding) have them"
        )
    dropped = tuple(key for key in held if key not in targets)
    return LoadReport(file.path, tuple(targets), dropped, random, tuple(notes))


def _table_keys(backbone: MOATBackbone) -> list[str]:
    attention = (name for name, module in backbone.named_modules() if isinstance(module, Attention))
    return [f"{name}.relative_position_embedding" for name in attention]


def _check_variant(backbone: MOATBackbone, file: WeightFile) -> None:
    """Refuse the weights of another released variant; those of a variant of the user's tell by names and shapes."""
    found, own = identify(file), variant_name(backbone.variant)
    if found is not None and own is not None and found != own:
        raise UserError(f"{file.path}: the file holds {found}, the backbone is {own}")


def _check_names(names: dict[str, str], weights: dict[str, Tensor], held: list[str], file: WeightFile) -> None:
    absent, known = weights.keys() - held, set(names.values())
    # A part that is absent as a whole is left out; where the file has any of it, it must have all.
    parts = {part(key) for key in held}
    missing = [names[key] for key in weights if key in absent and part(key) in parts | {None}]
    unexpected = [name for name in file.shapes if name not in known and not file.is_extra(name, known)]
    faults = [f"{verb} {_listed(them)}" for verb, them in (("lacks", missing), ("has unknown", unexpected)) if them]
    if faults:
        raise UserError(f"{file.path} does not fit the backbone: it {' and '.join(faults)}")


def _check_shapes(names: dict[str, str], targets: dict[str, Tensor], file: WeightFile) -> None:
    wrong = []
    for key, target in targets.items():
        found, needed = file.shapes[names[key]], tuple(file.view(key, target).shape)
        if found != needed:
            wrong.append(f"{names[key]} is {found} and not {needed}")
    if wrong:
        raise UserError(f"{file.path} does not fit the backbone: it has other shapes in {_listed(wrong)}")


def _listed(faults: list[str]) -> str:
    return f"{len(faults)}: {some(faults, _LISTED)}"
