"""From a configuration to a model: ours, or a peer of the engine's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from ultralytics.nn.tasks import yaml_model_load

from moat_det.backbones import create_backbone
from moat_det.backbones.timm.names import is_timm
from moat_det.backbones.windows import WindowSpec
from moat_det.detector.base import BaseDetector
from moat_det.detector.config import DEFAULT_REACH, NeckConfig, backbone_settings, load_config, parse_config
from moat_det.detector.detector import Detector
from moat_det.detector.neck import choose_widths
from moat_det.detector.peers import build_peer, is_peer
from moat_det.errors import UserError
from moat_det.paths import is_yaml


def with_window(mapping: Mapping[str, Any], window: WindowSpec) -> dict[str, Any]:
    """Give a copy of the configuration with other attention windows.

    Raises:
        UserError: It is one of the engine's or has a backbone of timm's, which have none to choose.
    """
    if is_peer(mapping):
        raise UserError(f"--window {window}: leave it out, the engine's models have no attention windows")
    backbone = backbone_settings(mapping)
    if is_timm(backbone.get("name")):
        raise UserError(f"--window {window}: leave it out, {backbone['name']} has no attention windows to choose")
    return {**mapping, "backbone": {**backbone, "window": window}}


def with_drop_path(mapping: Mapping[str, Any], rate: float) -> dict[str, Any]:
    """Give a copy of the configuration whose backbone drops branches at another rate.

    Args:
        mapping: The configuration.
        rate: Of dropped branches at the end of the backbone, in [0, 1).

    Raises:
        UserError: It is one of the engine's, which drop none.
    """
    if is_peer(mapping):
        raise UserError(f"--drop-path {rate}: leave it out, the engine's models drop no branches")
    backbone = backbone_settings(mapping)
    name = "drop_path_rate" if is_timm(backbone.get("name")) else "drop_path"
    return {**mapping, "backbone": {**backbone, name: rate}}


def find_config(name_or_path: str | Path) -> dict[str, Any]:
    """Read the configuration of a backbone's name, of a YAML's path, or of one of the engine's models (yolo11n.yaml).

    A neck whose widths are not given gets those that follow from its backbone's.

    Args:
        name_or_path: One of `config_names`; a model of timm's, `timm/NAME`; or a path.

    Raises:
        UserError: There is no such name or file, or the file is no YAML mapping.
    """
    if is_timm(name_or_path):
        return _with_neck({"backbone": {"name": str(name_or_path)}, "head": {"reach": DEFAULT_REACH}}, name_or_path)
    try:
        return _with_neck(load_config(name_or_path), name_or_path)
    except UserError as error:
        if Path(name_or_path).exists() or not is_yaml(name_or_path):
            raise
        try:
            found = yaml_model_load(str(name_or_path))
        except FileNotFoundError:
            raise error from None
        return dict(found)


def _with_neck(mapping: dict[str, Any], source: str | Path) -> dict[str, Any]:
    """Give a copy of a configuration of ours in which the neck's widths are set."""
    neck = mapping.get("neck") or {}
    if is_peer(mapping) or "backbone" not in mapping or not isinstance(neck, Mapping) or "channels" in neck:
        return mapping
    levels = neck.get("levels", NeckConfig.levels)
    whole = {**mapping, "neck": {**neck, "channels": [8] * len(levels)}}
    config = parse_config(whole, source)
    with torch.device("meta"), _naming(source):
        info = create_backbone(**config.backbone).feature_info
        return {**mapping, "neck": {**neck, "channels": list(choose_widths(info, config.neck.levels))}}


@contextmanager
def _naming(source: str | Path) -> Iterator[None]:
    """Name the configuration in an error about the backbone's arguments; those of neck and head are checked."""
    try:
        yield
    except (UserError, TypeError) as error:
        own_name = str(error).startswith(str(source))  # of a backbone that is called by its name alone
        raise UserError(str(error) if own_name else f"{source}: backbone: {error}") from None


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
    with _naming(source):
        return Detector(config, nc, names, channels)
