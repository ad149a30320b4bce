"""A network of timm's without its head: built, fit for images of any size, and checked to be."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import timm
import torch

from moat_det.backbones.base import FeatureInfo
from moat_det.backbones.timm.any_size import take_any_size
from moat_det.backbones.timm.attention import choose_attention
from moat_det.backbones.timm.drop_path import take_drop_paths
from moat_det.backbones.timm.names import model_name
from moat_det.backbones.timm.strided import take_strides
from moat_det.errors import UserError
from moat_det.messages import as_given, one_line

# What is ours to say: by an option of the training, or by the data.
_OURS = {
    *("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir", "num_classes"),
    *("in_chans", "features_only", "scriptable", "exportable", "no_jit", "device", "dtype"),
}
_NEEDED = (8, 16, 32)
_TAKEN = (4, *_NEEDED)
# Heights and widths that a network for one size, or for windows that must fill its maps, does not take.
_PROBES = ((96, 160), (352, 224))

_ANY_SIZE = "strict_img_size"  # of Swin and its kind, which pad and mask by themselves


class Net(NamedTuple):
    """A network and the maps that are taken of it.

    Attributes:
        module: Of timm's, cut behind the last map.
        indices: Of the maps among its intermediate ones.
        info: Of the maps, the finest first.
    """

    module: Any
    indices: list[int]
    info: list[FeatureInfo]


def build_net(name: str, in_channels: int, arguments: Mapping[str, Any]) -> Net:
    """Build a network of timm's, with random weights.

    Args:
        name: `timm/NAME`.
        in_channels: Bands of the images.
        arguments: Timm's own, of this model.

    Raises:
        UserError: There is no such model, an argument is none of it or out of range, it has no maps of strides 8, 16
            and 32, or it takes images of one size alone.
    """
    for argument in arguments:
        if argument in _OURS:
            raise UserError(f"{name}: '{argument}' is no setting of a backbone here: leave it out")
    bare = model_name(name)
    more = _to_take_any_size(name, bare, in_channels, json.dumps(arguments, sort_keys=True, default=str))
    return _cut(name, _create(name, bare, in_channels, {**more, **arguments}))


@lru_cache(maxsize=64)
def _to_take_any_size(name: str, bare: str, in_channels: int, arguments: str) -> dict[str, Any]:
    """Give what timm must be told beside `arguments` (JSON), and see that the network then takes every size."""
    given, more = json.loads(arguments), {}
    with torch.device("meta"):
        net = _create(name, bare, in_channels, given)
        if _ANY_SIZE in inspect.signature(type(net)).parameters:
            more = {_ANY_SIZE: False}
            net = _create(name, bare, in_channels, {**more, **given})
        _check(name, _cut(name, net), in_channels, given)
    return more


def create_whole(name: str, arguments: Mapping[str, Any]) -> Any:
    """Give a network with its head and for RGB, as its weights are released: names and shapes, no content."""
    bare = model_name(name)
    settings = timm.get_pretrained_cfg(bare)
    with torch.device("meta"):
        return _create(name, bare, 3, arguments, 1000 if settings is None else settings.num_classes)


def _create(name: str, bare: str, in_channels: int, arguments: Mapping[str, Any], classes: int = 0) -> Any:
    plain: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()
    }
    try:
        return timm.create_model(bare, pretrained=False, in_chans=in_channels, num_classes=classes, **plain)
    except Exception as error:  # what a wrong argument makes timm raise is of every kind
        raise UserError(f"{name} cannot be built{_with(arguments)}: {_reason(error)}") from None


def _with(arguments: Mapping[str, Any]) -> str:
    said = ", ".join(f"{key}: {as_given(value)}" for key, value in arguments.items())
    return f" with {said}" if said else ""


def _reason(error: Exception) -> str:
    return one_line(error) or type(error).__name__  # of an assertion there may be no text


def _cut(name: str, net: Any) -> Net:
    """Choose the maps by their strides, the last of each, and remove what comes behind them."""
    if not (hasattr(net, "forward_intermediates") and hasattr(net, "prune_intermediate_layers")):
        raise UserError(f"{name}: timm gives no intermediate maps of it, which a detector needs: choose another")
    all_info = [FeatureInfo(info["num_chs"], info["reduction"], info["module"]) for info in net.feature_info]
    by_stride = {info.reduction: index for index, info in enumerate(all_info)}
    if not by_stride.keys() >= set(_NEEDED):
        raise UserError(
            f"{name}: its maps are of {_strides(all_info)}, a detector needs strides 8, 16 and 32: choose another"
        )
    indices = [by_stride[stride] for stride in _TAKEN if stride in by_stride]
    net.prune_intermediate_layers(indices, prune_norm=True, prune_head=True)
    take_any_size(net)
    take_strides(net)
    take_drop_paths(net)
    choose_attention(net)
    return Net(net, indices, [all_info[index] for index in indices])


def _strides(infos: Sequence[FeatureInfo]) -> str:
    strides = list(dict.fromkeys(info.reduction for info in infos))
    return f"stride{'s' if len(strides) > 1 else ''} {', '.join(map(str, strides))}"


@torch.no_grad()
def _check(name: str, net: Net, in_channels: int, arguments: Mapping[str, Any]) -> None:
    """See on tensors without content whether it takes images of any size and gives the maps it says."""
    module = net.module.eval()

    def run(height: int, width: int) -> list[torch.Tensor]:
        image = torch.empty(1, in_channels, height, width)
        return list(module.forward_intermediates(image, indices=net.indices, intermediates_only=True))

    for height, width in _PROBES:
        try:
            maps = run(height, width)
        except Exception as error:
            try:
                run(*module.pretrained_cfg["input_size"][1:])
            except Exception as other:  # so it is not the size
                raise UserError(f"{name} cannot be computed{_with(arguments)}: {_reason(other)}") from None
            raise UserError(
                f"{name} takes images of one size alone (at {height} x {width} px timm says: {_reason(error)}): "
                "choose another"
            ) from None
        for info, found in zip(net.info, maps, strict=True):
            expected = (1, info.num_chs, height // info.reduction, width // info.reduction)
            if tuple(found.shape) != expected:
                raise UserError(
                    f"{name}: its map '{info.module}' of a {height} x {width} image is {tuple(found.shape)} and not "
                    f"{expected}: choose another"
                )
