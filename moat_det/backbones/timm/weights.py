"""Fits what a file holds into a network of timm's: by names, or by order where that is asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor

from moat_det.backbones.timm.backbone import TimmBackbone
from moat_det.backbones.timm.build import create_whole
from moat_det.backbones.timm.names import PREFIX
from moat_det.backbones.timm.renames import find_family, rename, unwrap
from moat_det.backbones.weights import checksum
from moat_det.backbones.weights.files import WeightFile
from moat_det.backbones.weights.report import LoadReport
from moat_det.errors import UserError
from moat_det.messages import some
from moat_det.paths import weights_dir

_LISTED = 20
_COUNTER = ".num_batches_tracked"


def find_timm_weights(backbone: TimmBackbone) -> Path:
    """Give the file of timm's weights for a backbone: in `weights_dir()`, or in the caches that timm fills.

    Nothing is downloaded.

    Raises:
        UserError: It is nowhere, or not what its checksum says; the message says which file goes where.
    """
    settings = backbone.net.pretrained_cfg
    if not (settings.get("hf_hub_id") or settings.get("url")):
        raise UserError(f"{backbone.name}: timm has no weights for it: give a path")
    tag = f"{settings['architecture']}.{settings['tag']}" if settings.get("tag") else settings["architecture"]
    folder = weights_dir()
    for suffix in (".safetensors", ".pth", ".pt"):
        if (folder / f"{tag}{suffix}").is_file():
            checksum.verify(folder / f"{tag}{suffix}")
            return folder / f"{tag}{suffix}"
    for path in _cached(settings):
        return path
    hub = settings.get("hf_hub_id") or f"{PREFIX}{tag}"
    licence = settings.get("license") or "unknown"
    raise UserError(
        f"{backbone.name}: its weights are not in {folder}, nor in timm's cache, and none are downloaded: fetch "
        f"https://huggingface.co/{hub}/resolve/main/model.safetensors (licence: {licence}) "
        f"elsewhere, and put it into {folder} as {tag}.safetensors"
    )


def _cached(settings: Mapping[str, Any]) -> list[Path]:
    """Give the files of earlier downloads by timm itself, the newest first."""
    found: list[Path] = []
    if settings.get("hf_hub_id"):
        home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
        hub = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
        model = hub / f"models--{settings['hf_hub_id'].replace('/', '--')}" / "snapshots"
        found += [*model.glob("*/model.safetensors"), *model.glob("*/pytorch_model.bin")]
    if settings.get("url"):
        found.append(Path(torch.hub.get_dir()) / "checkpoints" / Path(settings["url"]).name)
    return sorted((path for path in found if path.is_file()), key=lambda path: -path.stat().st_mtime)


@torch.no_grad()
def load_timm(backbone: TimmBackbone, file: WeightFile, *, by_order: bool = False) -> LoadReport:
    """Copy a file's weights into a backbone of timm's.

    Names may be timm's, those of a detector of ours, of a family of `renames`, or those that timm's own filter of the
    network knows (of its authors, usually). What lies behind the last map, the head, is dropped. The first kernel
    follows the backbone's bands, as in MOAT. Everything is checked before anything is written.

    Args:
        backbone: Filled in place.
        file: The weights.
        by_order: Pair the tensors with those of the whole network one after the other, whatever their names.

    Raises:
        UserError: Something of the backbone is not in the file, or has another shape; or the weights are for another
            padding.
    """
    if by_order and file.path.suffix == ".safetensors":
        raise UserError(f"{file.path} has its tensors in the order of their names: --weights-by-order needs the .pt")
    whole = create_whole(backbone.name, backbone.arguments).state_dict()
    order = [key for key in whole if not key.endswith(_COUNTER)]
    own = {key: tensor for key, tensor in backbone.net.state_dict().items() if not key.endswith(_COUNTER)}
    names = [name for name in file.shapes if not name.endswith(_COUNTER)]
    if by_order:
        tensors, notes = _by_order(file, names, order, whole)
    else:
        tensors, notes = _by_name(backbone, file, names, order)
    unknown = [name for name in tensors if name not in whole]
    _check_missing(file, [key for key in own if key not in tensors], unknown)
    firsts = {first.removeprefix("net.") + ".weight" for first in backbone.first_convs}
    ready = {}
    for key, target in own.items():
        tensor = tensors[key]
        of_bands = key in firsts and tensor.ndim == 4 and whole[key].shape[1] == 3  # a few networks rearrange them
        if of_bands and target.shape[1] != tensor.shape[1]:
            tensor = tensor.float().mean(1, keepdim=True).repeat(1, target.shape[1], 1, 1) * tensor.shape[1]
            tensor = tensor / target.shape[1]
            notes.append(f"the first kernel's bands averaged for {target.shape[1]} band(s)")
        ready[key] = tensor
    wrong = [
        f"{k} is {tuple(t.shape)} and not {tuple(own[k].shape)}" for k, t in ready.items() if t.shape != own[k].shape
    ]
    if wrong:
        raise UserError(
            f"{file.path} does not fit {backbone.name}: it has other shapes in {len(wrong)}: {some(wrong, _LISTED)}"
        )
    for key, tensor in ready.items():
        own[key].copy_(tensor)
    behind = sorted({key.rpartition(".")[0] for key in tensors if key in whole and key not in own})
    if behind:
        notes.append(f"dropped what lies behind the last map: {some(behind, _LISTED)}")
    if unknown:
        notes.append(f"not known to timm, dropped: {some(unknown, _LISTED)}")
    return LoadReport(file.path, tuple(f"net.{key}" for key in ready), (), (), tuple(notes))


def _by_order(
    file: WeightFile, names: list[str], order: list[str], whole: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """Pair the file's tensors with the network's; a file that ends before the head does will do."""
    for number, (name, key) in enumerate(zip_longest(names, order), 1):
        if name is None:
            break
        if key is None or file.shapes[name] != tuple(whole[key].shape):
            place = f"{key} {tuple(whole[key].shape)}" if key else "nothing"
            raise UserError(
                f"{file.path} does not fit by order: tensor {number}, {name} {file.shapes[name]}, would become {place}"
            )
    notes = [f"matched by order, names not looked at: {names[0]} is {order[0]}, {names[-1]} is {order[len(names) - 1]}"]
    return {key: file.read_numbers(name) for name, key in zip(names, order, strict=False)}, notes


def _by_name(
    backbone: TimmBackbone, file: WeightFile, names: list[str], order: list[str]
) -> tuple[dict[str, Tensor], list[str]]:
    """Give the tensors by timm's names, and from which names these were made."""
    stripped = unwrap(names, order)
    tensors = {new: file.read_numbers(name) for name, new in stripped.items()}
    family = find_family(tensors)
    if family is not None:
        if family.same_padding and not backbone.name.startswith(f"{PREFIX}tf_"):
            bare = backbone.name.removeprefix(PREFIX)
            raise UserError(
                f"{file.path}: weights by the names of {family.name} are for TensorFlow's padding, with which "
                f"{backbone.name} would give other features: take --backbone {PREFIX}tf_{bare}"
            )
        renamed = rename(family, tensors, order)
        return {renamed[name]: tensor for name, tensor in tensors.items()}, [f"names of {family.name}"]
    if set(order).isdisjoint(tensors):
        converted = _by_filter(backbone, tensors)
        if not set(order).isdisjoint(converted):
            return converted, ["names translated by timm"]
    return tensors, []


def _by_filter(backbone: TimmBackbone, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Let timm's filter of the network translate the names of its authors; what it fails on stays."""
    translate = getattr(sys.modules[type(backbone.net).__module__], "checkpoint_filter_fn", None)
    if translate is None:
        return tensors
    try:
        return dict(translate(dict(tensors), backbone.net))
    except Exception:  # it expects its own files, and of others it may stumble over anything
        return tensors


def _check_missing(file: WeightFile, missing: list[str], unknown: list[str]) -> None:
    if not missing:
        return
    faults = [f"lacks {len(missing)}: {some(missing, _LISTED)}"]
    if unknown:
        faults.append(f"has {len(unknown)} unknown: {some(unknown, _LISTED)}")
    raise UserError(
        f"{file.path} does not fit the backbone: it {' and '.join(faults)}; --weights-by-order pairs tensors by their "
        f"order instead of their names (timm {timm.__version__})"
    )
