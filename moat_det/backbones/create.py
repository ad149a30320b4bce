"""Backbones by name."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from moat_det.backbones.base import Backbone
from moat_det.backbones.moat.create import create_moat
from moat_det.backbones.moat.variants import VARIANTS
from moat_det.backbones.timm.names import check_installed, is_timm
from moat_det.backbones.weights import load_pretrained

logger = logging.getLogger(__name__)


def list_backbones() -> list[str]:
    """Give the names of the MOAT backbones; those of timm's are `timm/NAME` (see `timm.names.list_timm`)."""
    return sorted(VARIANTS)


def create_backbone(
    name: str, *, pretrained: str | Path | None = None, in_channels: int = 3, **arguments: Any
) -> Backbone:
    """Build a backbone, with random weights or pre-trained ones.

    Args:
        name: One of `list_backbones()`, or a model of timm's, `timm/NAME`.
        pretrained: Weights to load: "imagenet", the name of a released checkpoint, or a path (see
            `weights.load_pretrained`). None: random ones.
        in_channels: Bands of the input.
        **arguments: Of a MOAT backbone what `create_moat` takes, windows for example; of one of timm's its own
            settings by timm's names.

    Returns:
        A module that takes normalised images, float (B, in_channels, H, W), to {name of a map: map}, or to logits where
        a MOAT backbone was asked for a head. A MOAT backbone takes any H and W from 1 pixel on, another multiples of
        32.

    Raises:
        UserError: No backbone has that name, an argument is out of its range, or the weights are missing, damaged
            or of another backbone.
    """
    check_installed(name)
    backbone: Backbone
    if is_timm(name):
        from moat_det.backbones.timm.backbone import TimmBackbone

        backbone = TimmBackbone(name, in_channels, **arguments)
    else:
        backbone = create_moat(name, in_channels=in_channels, **arguments)
    if pretrained is not None:
        report = load_pretrained(backbone, pretrained)
        for line in report.lines():
            logger.log(logging.WARNING if report.incomplete else logging.INFO, line)
    return backbone
