"""What the detector asks of a backbone, in timm's words."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

from torch import Tensor, nn

from moat_det.backbones.windows import WindowSpec

GroupMatcher: TypeAlias = Mapping[str, str | Sequence[tuple[str, tuple[int, ...] | None]]]
"""Patterns of the names of parameters, by group: from the input on. A pattern's numbers tell the layers of its group
apart; a group of several patterns gives each the numbers that follow its own."""

_SAME_LAYER = 99999  # of timm: the layer before


class FeatureInfo(NamedTuple):
    """A feature map of a backbone.

    Attributes:
        num_chs: Its channels.
        reduction: Pixels of the image per cell, along each side.
        module: Its name in what the backbone returns.
    """

    num_chs: int
    reduction: int
    module: str


class Backbone(nn.Module, ABC):
    """A feature extractor: what neck, optimizer, folding and fine-tuning know of it.

    Its `forward` takes normalised images, float (B, C, H, W), to {module: map}, each (B, num_chs, H / reduction,
    W / reduction) rounded up.

    Attributes:
        feature_info: The maps that it gives, the finest first.
        mean: Mean of each input band, for images in [0, 1].
        std: Standard deviation of each input band, likewise.
        first_conv: Name of the convolution that takes the image; its kernel follows the number of bands.
    """

    feature_info: list[FeatureInfo]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    first_conv: str

    @property
    def channels(self) -> dict[str, int]:
        """Channels of each map, by name."""
        return {info.module: info.num_chs for info in self.feature_info}

    @property
    def strides(self) -> dict[str, int]:
        """Pixels per cell of each map, by name."""
        return {info.module: info.reduction for info in self.feature_info}

    @abstractmethod
    def group_matcher(self, coarse: bool = False) -> GroupMatcher:
        """Tell the layers apart, for a learning rate by depth: each block is one, or each stage if `coarse`."""

    @abstractmethod
    def forward(self, x: Tensor) -> dict[str, Tensor] | Tensor:
        """Compute the maps, or logits where the backbone was built with a head."""

    def no_weight_decay(self) -> set[str]:
        """Name the parameters beside norms and biases that do not decay."""
        return set()

    def init_weights(self) -> None:
        """Draw the weights that a detector starts from without pre-trained ones: by default those there are."""

    def fold(self) -> None:
        """Fold the norms into the convolutions beside them, in place, for inference alone; by default none."""

    def group_parameters(self, coarse: bool = False) -> list[list[nn.Parameter]]:
        """Group the parameters by `group_matcher`, from the input on; what it does not name is the last layer."""
        groups: dict[tuple[float, ...], list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            groups.setdefault(_place(name, self.group_matcher(coarse)), []).append(parameter)
        layers: list[list[nn.Parameter]] = []
        for place in sorted(groups):
            if layers and place[-1] == _SAME_LAYER:
                layers[-1] += groups[place]
            else:
                layers.append(groups[place])
        return layers


@runtime_checkable
class Windowed(Protocol):
    """A backbone that attends within windows."""

    def set_windows(
        self, window: WindowSpec, *, trained_size: tuple[int, int] | None = None, position: str = "stretch"
    ) -> None:
        """Change how far attention reaches.

        Args:
            window: See `windows.parse_windows`.
            trained_size: Height and width in pixels of the images of the training; needed for the window "trained" and
                the position "clamp".
            position: What becomes of the position tables in windows larger than the whole map of an image of
                `trained_size`: "stretch" resizes them to any window, as MOAT's official code does; "clamp" resizes
                them to that map at most, and cells farther apart get the bias of its farthest.

        Raises:
            UserError: An argument is none of these, or `trained_size` is missing.
        """


def per_band(rgb: Sequence[float], bands: int) -> tuple[float, ...]:
    """Give the mean, or the deviation, of each band from those of RGB: with other than 3 bands their mean for each."""
    return tuple(rgb) if bands == 3 else (sum(rgb) / 3,) * bands


def _place(name: str, matcher: GroupMatcher) -> tuple[float, ...]:
    """Give the order of a parameter's layer among the others: its group, and the numbers in its name."""
    for group, patterns in enumerate(matcher.values()):
        for pattern, suffix in [(patterns, None)] if isinstance(patterns, str) else patterns:
            if found := re.match(pattern, name):
                return tuple(map(float, (group, *(n for n in found.groups() if n is not None), *(suffix or ()))))
    return (float("inf"),)
