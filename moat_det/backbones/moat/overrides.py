"""Variants that users make of the released ones: a setting or more overridden, and checked."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from moat_det.backbones.moat.initializers import KERNELS
from moat_det.backbones.moat.variants import BLOCK_TYPES, VARIANTS, Variant
from moat_det.errors import UserError
from moat_det.messages import nearest, shown, suggest
from moat_det.values import is_count, is_number

SETTINGS = tuple(f.name for f in fields(Variant) if f.name not in {"survival", "native", "mean", "std"})
"""What of a variant can be overridden by its name."""

_PER_STAGE = ("depths", "channels", "block_types", "strides", "position_sizes")
_LISTS = ("stem", *_PER_STAGE)


def find_variant(name: str, **overrides: Any) -> Variant:
    """Give a released variant, or one made of it: the configuration of a backbone, without a module.

    Args:
        name: One of `VARIANTS`.
        **overrides: Settings of `Variant` instead of its own, such as `depths` and `channels`; those of `SETTINGS`.

    Raises:
        UserError: There is no such variant or setting, or a value is out of its range, or as many as there are stages
            were not given.
    """
    if name not in VARIANTS:
        near = nearest(str(name), VARIANTS, cutoff=0)
        raise UserError(f"no backbone {name!r}; did you mean {near!r}? There are {', '.join(sorted(VARIANTS))}")
    for key in overrides:
        if key not in SETTINGS:
            raise UserError(f"unknown setting '{key}'{suggest(key, SETTINGS)}; there are {', '.join(SETTINGS)}")
    for key in _LISTS:
        if key in overrides and not isinstance(overrides[key], (list, tuple)):
            raise UserError(f"{key} {shown(overrides[key])}: give a list of them")
    given: dict[str, Any] = {key: tuple(value) if key in _LISTS else value for key, value in overrides.items()}
    variant = replace(VARIANTS[name], **given)
    _check_lengths(variant)
    _check_values(variant)
    return variant


def _check_lengths(variant: Variant) -> None:
    stages = len(variant.block_types)
    for key in _PER_STAGE:
        value = getattr(variant, key)
        if len(value) != stages:
            raise UserError(
                f"{key} {list(value)}: {_count(len(value))}, and block_types has {_count(stages)}: "
                f"{', '.join(_PER_STAGE)} must be of one length"
            )
    if not stages:
        raise UserError("block_types []: give a stage or more")


def _count(stages: int) -> str:
    return f"{stages} stage{'' if stages == 1 else 's'}"


def _check_values(variant: Variant) -> None:
    for key in ("stem", "depths", "channels"):
        if not getattr(variant, key) or not all(is_count(value) for value in getattr(variant, key)):
            raise UserError(f"{key} {list(getattr(variant, key))}: must be whole numbers, 1 or more")
    for kind in variant.block_types:
        if kind not in BLOCK_TYPES:
            raise UserError(
                f"block_types: {shown(kind)} is no type of block{suggest(str(kind), BLOCK_TYPES)}; "
                f"there are {' and '.join(BLOCK_TYPES)}"
            )
    if not all(is_count(stride) and stride <= 2 for stride in variant.strides):
        raise UserError(f"strides {list(variant.strides)}: must be 1 or 2")
    if not is_count(variant.head_size):
        raise UserError(f"head_size {shown(variant.head_size)}: must be a whole number, 1 or more")
    for key in ("expansion", "se_ratio", "norm_eps"):
        value = getattr(variant, key)
        if not is_number(value) or not 0 < value < 1e6:
            raise UserError(f"{key} {shown(value)}: must be a number above 0")
    if not is_number(variant.bias_init):
        raise UserError(f"bias_init {shown(variant.bias_init)}: must be a number")
    if variant.kernel_init is not None and variant.kernel_init not in KERNELS:
        raise UserError(f"kernel_init {shown(variant.kernel_init)}: must be {' or '.join(KERNELS)}")
    for stage, (kind, width, size) in enumerate(
        zip(variant.block_types, variant.channels, variant.position_sizes, strict=True), 1
    ):
        if kind != "moat":
            continue
        if width % variant.head_size:
            raise UserError(
                f"channels {list(variant.channels)}: stage {stage} attends: {width} must be a multiple of head_size "
                f"{variant.head_size}"
            )
        if not is_count(size):
            raise UserError(
                f"position_sizes {list(variant.position_sizes)}: stage {stage} attends: give it the cells along a side "
                "of the map that its position table is made for"
            )
