"""Which backbone a name stands for."""

from __future__ import annotations

from typing import Any

from moat_det.detector.build import find_config, with_drop_path
from moat_det.detector.config import parse_config
from moat_det.detector.peers import is_peer
from moat_det.errors import UserError


def backbone_arguments(name: str, drop_path: float | None = None) -> dict[str, Any]:
    """Give the arguments of `create_backbone` that a name stands for.

    Args:
        name: A backbone of ours, `timm/NAME`, the name of a model YAML (mobilevit_xs), or the path of one.
        drop_path: Rate of dropped branches at the end of the network; None for the backbone's own.

    Raises:
        UserError: There is no such name or file, or it names no backbone.
    """
    mapping = find_config(name)
    if is_peer(mapping):
        raise UserError(f"--backbone {name}: is one of the engine's models, which have no backbone of their own")
    if drop_path is not None:
        mapping = with_drop_path(mapping, drop_path)
    return dict(parse_config(mapping, name).backbone)
