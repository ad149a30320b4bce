"""The dropped branches of timm's networks, by ours: of a batch that several processes share they know their part."""

from __future__ import annotations

from timm.layers import DropPath as TimmDropPath
from torch import nn

from moat_det.backbones.drop_path import DropPath


def take_drop_paths(net: nn.Module) -> None:
    """Let ours stand for every one of timm's, in place; they have no weights."""
    for parent in list(net.modules()):
        for name, drop in parent.named_children():
            if type(drop) is TimmDropPath:
                setattr(parent, name, DropPath(drop.drop_prob, drop.scale_by_keep))
