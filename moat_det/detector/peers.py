"""The engine's own models (yolo11n.yaml), to be trained, measured and compared with by the same commands as ours."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from ultralytics.nn.tasks import RTDETRDetectionModel

from moat_det.detector.base import BaseDetector, as_numbers


def is_peer(mapping: Mapping[str, Any]) -> bool:
    """Whether a configuration is in the engine's own format: its backbone is a list of layers."""
    return isinstance(mapping.get("backbone"), list)


class Peer(BaseDetector):
    """A model of the engine's as the engine trains and folds it, in float32.

    Args:
        mapping: The configuration in the engine's format.
        nc: Number of classes.
        names: Class index -> name; numbers when not given.
        channels: Bands of the images.
    """

    engine_recipe = True

    def __init__(
        self, mapping: Mapping[str, Any], nc: int, names: dict[int, str] | None = None, channels: int = 3
    ) -> None:
        super().__init__(deepcopy(dict(mapping)), ch=channels, nc=nc, verbose=False)
        self.names = names or self.names

    def forward(self, x: Tensor | dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Detect in images, or compute the losses of a batch: all of it under autocast where `dtype` is not float32."""
        if self.dtype == torch.float32:
            return super().forward(x, *args, **kwargs)
        with torch.autocast(next(self.parameters()).device.type, self.dtype):
            return super().forward(x, *args, **kwargs)

    def predict(self, x: Tensor, profile: bool = False, augment: bool = False, embed: list[int] | None = None) -> Any:
        """Detect in `x` (B, C, H, W), uint8 or floating in [0, 1]."""
        return super().predict(as_numbers(x), profile, augment, embed)


class TransformerPeer(Peer, RTDETRDetectionModel):
    """An RT-DETR of the engine's (rtdetr-l.yaml): a decoder in place of dense heads, with losses of its own.

    Takes what `Peer` takes.
    """

    def __init__(
        self, mapping: Mapping[str, Any], nc: int, names: dict[int, str] | None = None, channels: int = 3
    ) -> None:
        super().__init__(mapping, nc, names, channels)
        self.nc = nc  # which its losses ask for

    def predict(
        self,
        x: Tensor,
        profile: bool = False,
        augment: bool = False,
        embed: list[int] | None = None,
        batch: dict[str, Any] | None = None,
    ) -> Any:
        """Detect in `x` (B, C, H, W), uint8 or floating in [0, 1].

        Args:
            x: The images.
            profile: Print the time of each layer.
            augment: Has no effect, as in the engine.
            embed: Layers whose features are wanted instead.
            batch: The objects that training shows the decoder with noise.

        Returns:
            In training what the losses take. Else predictions (B, 4 + nc, A) as a dense head gives them, one for each
            class and query that the decoder chose, and the raw output.
        """
        output = RTDETRDetectionModel.predict(self, as_numbers(x), profile, batch, augment, embed)
        if self.training or embed:
            return output
        chosen, raw = output
        height, width = x.shape[2:]
        boxes = chosen[..., :4] * chosen.new_tensor([width, height, width, height])
        scores = chosen.new_zeros(*chosen.shape[:2], self.nc).scatter_(2, chosen[..., 5:].long(), chosen[..., 4:5])
        return torch.cat((boxes, scores), 2).transpose(1, 2), raw


def build_peer(mapping: Mapping[str, Any], nc: int, names: dict[int, str] | None = None, channels: int = 3) -> Peer:
    """Build a model of the engine's from its configuration; takes what `Peer` takes."""
    decodes = mapping["head"][-1][2] == "RTDETRDecoder"
    return (TransformerPeer if decodes else Peer)(mapping, nc, names, channels)
