"""From a configuration to a model: ours, or a peer of the engine's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ultralytics.nn.tasks import yaml_model_load

from moat_det.backbones.windows import WindowSpec
from moat_det.detector.base import BaseDetector
from moat_det.detector.config import load_config, parse_config
from moat_det.detector.detector import Detector
from moat_det.detector.peers import build_peer, is_peer
from moat_det.errors import UserError


def with_window(mapping: Mapping[str, Any], window: WindowSpec) -> dict[str, Any]:
    """Give a copy of the configuration with other attention windows.

    Raises:
        UserError: It is one of the engine's, whose models have none.
    """
    if is_peer(mapping):
        raise UserError(f"--window {window}: leave it out, the engine's models have no attention windows")
    backbone = mapping["backbone"]
    backbone = {"name": backbone} if isinstance(backbone, str) else backbone
    return {**mapping, "backbone": {**backbone, "window": window}}


def find_config(name_or_path: str | Path) -> dict[str, Any]:
    """Read the configuration of a backbone's name, of a YAML's path, or of one of the engine's models (yolo11n.yaml).

    Raises:
        UserError: There is no such name or file, or the file is no YAML mapping.
    """
    try:
        return load_config(name_or_path)
    except UserError as error:
        if Path(name_or_path).exists() or not str(name_or_path).endswith((".yaml", ".yml")):
            raise
        try:
            found = yaml_model_load(str(name_or_path))
        except FileNotFoundError:
            raise error from None
        return dict(found)


def build_model(
    mapping: Mapping[str, Any],
    nc: int,
    names: dict[int, str] | None = None,
    source: str | Path = "the model configuration",
    channels: int = 3,
) -> BaseDetector:
    """Build a detector from a configuration's mapping.

    Args:
        mapping: Ours (`backbone`, `neck`, `head`), or the engine's own.
        nc: Number of classes.
        names: Class index -> name.
        source: What to call the mapping in an error.
        channels: Bands of the images.

    Raises:
        UserError: The mapping is not in order.
    """
    if is_peer(mapping):
        return build_peer(mapping, nc, names, channels)
    shape = {key: value for key, value in mapping.items() if key not in {"nc", "channels"}}
    config = parse_config(shape, source)
    try:
        return Detector(config, nc, names, channels)
    except (UserError, TypeError) as error:  # of the backbone's arguments: those of the neck and head are checked
        raise UserError(f"{source}: backbone: {error}") from None
