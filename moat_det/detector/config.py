"""The YAML that shapes a detector: reading it, and refusing what it does not know."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from moat_det.backbones.moat.create import create_moat
from moat_det.backbones.moat.overrides import SETTINGS
from moat_det.backbones.timm.names import as_timm, is_timm
from moat_det.errors import UserError
from moat_det.messages import suggest
from moat_det.paths import cfg_dir, is_yaml, yaml_names
from moat_det.strict_yaml import read_yaml
from moat_det.values import is_count, is_number

# What shapes a detector's backbone: it has no classification head, and the bands are the data's.
_MOAT_KEYS = {*inspect.signature(create_moat).parameters, *SETTINGS} - {"num_classes", "in_channels", "overrides"}

DEFAULT_REACH = 256
"""Strides that the boxes of our own configurations reach."""

_EXAMPLE = cfg_dir() / "tiny_moat0.yaml"


@dataclass(frozen=True)
class NeckConfig:
    """The PAN neck: `channels` of each level, bottlenecks in each of its blocks, and the levels (L: stride 2 ** L)."""

    channels: tuple[int, ...]
    depth: int = 1
    levels: tuple[int, ...] = (3, 4, 5)


@dataclass(frozen=True)
class HeadConfig:
    """The head: `reg_max` bins of the box distribution, which reach `reach` strides (None: `reg_max - 1`)."""

    reg_max: int = 16
    reach: float | None = None


@dataclass(frozen=True)
class AssignerConfig:
    """Which anchor points learn an object: the `topk` in it that are best by score ** `alpha` * IoU ** `beta`.

    Source: Feng et al., TOOD: Task-aligned One-stage Object Detection, arXiv 2108.07755.
    """

    topk: int = 10
    alpha: float = 0.5
    beta: float = 6.0


@dataclass(frozen=True)
class DetectorConfig:
    """All that shapes a detector, and what its points learn.

    `backbone` holds the arguments of `create_backbone`, `name` among them.
    """

    backbone: Mapping[str, Any]
    neck: NeckConfig
    head: HeadConfig = field(default_factory=HeadConfig)
    assigner: AssignerConfig = field(default_factory=AssignerConfig)

    def to_dict(self) -> dict[str, Any]:
        """Give plain types, as in the YAML; `parse_config` reads them back."""
        plain = asdict(self)
        plain["neck"].update(channels=list(self.neck.channels), levels=list(self.neck.levels))
        return plain


def config_names() -> list[str]:
    """Give the names of our model YAMLs: every backbone's, and variants of it such as tiny_moat0-p2."""
    return yaml_names()


def load_config(name_or_path: str | Path) -> dict[str, Any]:
    """Read the YAML of a name, one of `config_names`, or of a path.

    Returns:
        The YAML's mapping, unchecked: ours goes to `parse_config`, the engine's own to the engine.

    Raises:
        UserError: No such name or file, or the file is no YAML mapping.
    """
    names = config_names()
    if str(name_or_path) in names:
        path = cfg_dir() / f"{name_or_path}.yaml"
    else:
        path = Path(name_or_path)
        if not is_yaml(path):
            other = as_timm(name_or_path)
            near = f" (did you mean '{other}'?)" if other else suggest(str(name_or_path), names)
            raise UserError(f"no model is named '{name_or_path}'{near}; there are {', '.join(names)}")
    if not path.exists():
        raise UserError(f"no model YAML at {path}: give the path of one, or a model's name ({', '.join(names)})")
    mapping = read_yaml(path)
    if not isinstance(mapping, dict):
        raise UserError(f"{path} must hold a mapping with backbone, neck and head; see {_EXAMPLE}")
    return mapping


def backbone_settings(mapping: Mapping[str, Any]) -> Any:
    """Give what a configuration says of its backbone; a name alone becomes a mapping."""
    backbone = mapping["backbone"]
    return {"name": backbone} if isinstance(backbone, str) else backbone


def parse_config(mapping: Mapping[str, Any], source: str | Path = "the model configuration") -> DetectorConfig:
    """Check a mapping and make it a `DetectorConfig`.

    Args:
        mapping: `backbone` (a name or the arguments of `create_backbone`), `neck`, and optionally `head` and
            `assigner`.
        source: What to call the mapping in an error, its file for example.

    Raises:
        UserError: A key is unknown or missing, or a value has the wrong type or range.
    """
    _check_keys(mapping, {f.name for f in fields(DetectorConfig)}, f"{source}")
    for key in ("backbone", "neck"):
        if key not in mapping:
            raise UserError(f"{source}: '{key}' is missing; see {_EXAMPLE}")
    backbone = backbone_settings(mapping)
    if not isinstance(backbone, Mapping) or "name" not in backbone:
        raise UserError(f"{source}: 'backbone' must be a backbone's name, or a mapping with 'name' among its keys")
    if not is_timm(backbone["name"]):
        _check_keys(backbone, _MOAT_KEYS, f"{source}: backbone")
    for key in ("pretrained", "in_channels"):  # else those of timm's models are checked by timm, when one is built
        if key in backbone:
            way = "weights are given by --weights" if key == "pretrained" else "the bands are those of the data"
            raise UserError(f"{source}: backbone: '{key}' is no setting of a backbone here: leave it out, {way}")
    neck, head, assigner = mapping["neck"], mapping.get("head") or {}, mapping.get("assigner") or {}
    kinds = (("neck", neck, NeckConfig), ("head", head, HeadConfig), ("assigner", assigner, AssignerConfig))
    for key, part, kind in kinds:
        if not isinstance(part, Mapping):
            raise UserError(f"{source}: '{key}' must be a mapping; see {_EXAMPLE}")
        _check_keys(part, {f.name for f in fields(kind)}, f"{source}: {key}")
    return DetectorConfig(
        dict(backbone),
        _parse_neck(neck, f"{source}: neck"),
        _parse_head(head, f"{source}: head"),
        _parse_assigner(assigner, f"{source}: assigner"),
    )


def _parse_neck(neck: Mapping[str, Any], where: str) -> NeckConfig:
    levels, depth = neck.get("levels", NeckConfig.levels), neck.get("depth", NeckConfig.depth)
    if not (
        isinstance(levels, (list, tuple))
        and len(levels) > 1
        and all(is_count(level, 2) for level in levels)
        and list(levels) == list(range(levels[0], levels[-1] + 1))
        and levels[0] <= 5
        and levels[-1] <= 6
    ):
        raise UserError(f"{where}.levels must be two or more in a row from 2 to 6, such as [3, 4, 5], not {levels!r}")
    channels = neck.get("channels")
    names = ", ".join(f"P{level}" for level in levels)
    if not (
        isinstance(channels, (list, tuple)) and len(channels) == len(levels) and all(is_count(c, 8) for c in channels)
    ):
        raise UserError(f"{where}.channels must be {len(levels)} whole numbers >= 8 ({names}), not {channels!r}")
    if not is_count(depth):
        raise UserError(f"{where}.depth must be a whole number >= 1, not {depth!r}")
    return NeckConfig(tuple(channels), depth, tuple(levels))


def _parse_head(head: Mapping[str, Any], where: str) -> HeadConfig:
    reg_max, reach = head.get("reg_max", HeadConfig.reg_max), head.get("reach", HeadConfig.reach)
    if not is_count(reg_max):
        raise UserError(f"{where}.reg_max must be a whole number >= 1, not {reg_max!r}")
    if reach is None:
        return HeadConfig(reg_max)
    if reg_max == 1:
        raise UserError(f"{where}.reach: a single bin (reg_max 1) reaches any distance; leave reach out")
    if not (is_number(reach) and reach > reg_max - 1):
        raise UserError(
            f"{where}.reach must be a number of strides above reg_max - 1 = {reg_max - 1}, "
            f"or null for bins of one stride each, not {reach!r}"
        )
    return HeadConfig(reg_max, float(reach))


def _parse_assigner(assigner: Mapping[str, Any], where: str) -> AssignerConfig:
    found = {**asdict(AssignerConfig()), **assigner}
    if not is_count(found["topk"]):
        raise UserError(f"{where}.topk must be a whole number >= 1, not {found['topk']!r}")
    for name in ("alpha", "beta"):
        if not is_number(found[name]) or found[name] < 0:
            raise UserError(f"{where}.{name} must be a number >= 0, not {found[name]!r}")
    return AssignerConfig(found["topk"], float(found["alpha"]), float(found["beta"]))


def _check_keys(mapping: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in mapping:
        if key not in known:
            raise UserError(f"{where}: unknown key '{key}'{suggest(str(key), sorted(known))}")
