"""What is worth knowing of a backbone before one is trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from moat_det.backbones.create import create_backbone
from moat_det.backbones.timm.names import is_timm

_MOAT_LICENCE = "apache-2.0"  # of the released checkpoints, as of the code that they come with


@dataclass(frozen=True)
class Description:
    """A backbone in a few words.

    Attributes:
        parameters: How many it has, without a head.
        strides: Of its maps.
        licence: Of the weights that were released for it; "-" where none were, "?" where timm does not say.
    """

    parameters: int
    strides: tuple[int, ...]
    licence: str


def describe(name: str) -> Description:
    """Describe the backbone of a name that `create_backbone` knows, without weights.

    Raises:
        UserError: As `create_backbone` does.
    """
    with torch.device("meta"):
        backbone = create_backbone(name)
    return Description(
        sum(parameter.numel() for parameter in backbone.parameters()),
        tuple(info.reduction for info in backbone.feature_info),
        _licence_of_timm(name) if is_timm(name) else _MOAT_LICENCE,
    )


def _licence_of_timm(name: str) -> str:
    import timm

    settings = timm.get_pretrained_cfg(name.partition("/")[2])
    if settings is None or not settings.has_weights:
        return "-"
    return str(settings.license or "?")
