"""A network of timm's as a detector's backbone."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor, nn

from moat_det.backbones.base import Backbone, GroupMatcher, per_band
from moat_det.backbones.timm.build import build_net
from moat_det.backbones.timm.fold import fold_norms
from moat_det.errors import UserError

_START = re.compile(r"(?<![\[\\])\^")  # of a name; not the ^ of a set of characters

_FOLDING_SIDE = 64  # pixels of the image that shows which norms fold


class TimmBackbone(Backbone):
    """A network of timm's, cut behind its map of stride 32.

    Args:
        name: `timm/NAME`, with a tag of timm's (`timm/NAME.TAG`) for the mean and std of other weights.
        in_channels: Bands of the images.
        **arguments: Timm's own, of this model, such as `drop_path_rate`.

    Attributes:
        name: As given.
        arguments: As given.
        net: The network; its weights have timm's names below `net.`.
        feature_info: The maps of strides 4, where there is one, 8, 16 and 32, by timm's names.
        mean: That of timm's weights for each band; with other than 3 bands the mean over RGB for each.
        std: Likewise.
        first_convs: Names of the convolutions that take the image; a few networks have two.

    Raises:
        UserError: As `build_net` does, or timm does not say what takes the image.
    """

    def __init__(self, name: str, in_channels: int = 3, **arguments: Any) -> None:
        super().__init__()
        self.name, self.arguments, self._in_channels = name, arguments, in_channels
        self.net, self._indices, self.feature_info = build_net(name, in_channels, arguments)
        settings = self.net.pretrained_cfg
        self.mean, self.std = (per_band(settings[key], in_channels) for key in ("mean", "std"))
        first = settings["first_conv"]
        if not first:
            raise UserError(f"{name}: timm does not say which of its convolutions takes the image: choose another")
        self.first_convs = tuple(f"net.{name}" for name in ((first,) if isinstance(first, str) else first))
        self.first_conv = self.first_convs[0]

    def group_matcher(self, coarse: bool = False) -> GroupMatcher:
        """Tell the layers apart as timm does; of a network of which it does not say, by its parts."""
        if hasattr(self.net, "group_matcher"):
            found: Any = self.net.group_matcher(coarse)
        else:
            found = {name: _numbered(name, part) for name, part in self.net.named_children()}
        return {
            group: _below_net(patterns)
            if isinstance(patterns, str)
            else [(_below_net(pattern), suffix) for pattern, suffix in patterns]
            for group, patterns in found.items()
            if patterns is not None
        }

    def no_weight_decay(self) -> set[str]:
        """Name what timm lets not decay, such as tables of positions."""
        named: set[str] = self.net.no_weight_decay() if hasattr(self.net, "no_weight_decay") else set()
        return {f"net.{name}" for name in named} & {name for name, _ in self.named_parameters()}

    def fold(self) -> None:
        """Fold the batch norms that stand behind a convolution; their activations stay."""
        kernel = self.get_parameter(f"{self.first_conv}.weight")
        fold_norms(self, kernel.new_zeros(1, self._in_channels, _FOLDING_SIDE, _FOLDING_SIDE))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Compute the maps of a normalised image (B, C, H, W), H and W multiples of 32."""
        maps = self.net.forward_intermediates(x, indices=self._indices, intermediates_only=True)
        return {info.module: found for info, found in zip(self.feature_info, maps, strict=True)}


def _numbered(name: str, part: nn.Module) -> str:
    """Give the pattern of a part of a network: each number of a list of layers is a layer."""
    children = [child for child, _ in part.named_children()]
    return rf"{name}\.(\d+)" if children and all(map(str.isdecimal, children)) else rf"{name}\b"


def _below_net(pattern: str) -> str:
    """Give a pattern of timm's, from the start of a name on, for names below `net.`."""
    return rf"net\.(?:{_START.sub('', pattern)})"
