"""Tells by names and shapes what backbone a file's weights are of."""

from __future__ import annotations

from dataclasses import asdict
from math import prod

from moat_det.backbones.moat.variants import VARIANTS, Variant
from moat_det.backbones.weights.files import WeightFile


def identify(file: WeightFile) -> str | None:
    """Give the variant that has the widths and depths of the weights in a file; None when none has."""
    return next((name for name, variant in VARIANTS.items() if _is_of(variant, file)), None)


def variant_name(variant: Variant) -> str | None:
    """Give the name of the released variant with the same weights; None when there is none."""
    return next((name for name, known in VARIANTS.items() if _architecture(known) == _architecture(variant)), None)


def has_tables(file: WeightFile) -> bool:
    """Whether the file holds position tables."""
    return file.name("stages.2.0.attention.relative_position_embedding") in file.shapes


def classes_of(file: WeightFile) -> int | None:
    """Give the number of classes of the head in the file; None when it holds none."""
    return _width("logits_head.bias", file)


def bands_of(file: WeightFile) -> int:
    """Give the bands of the input that the first kernel, of 3 x 3 pixels, is for."""
    kernel, bias = (prod(file.shapes.get(file.name(f"stem.conv_0.{leaf}"), ())) for leaf in ("weight", "bias"))
    return max(1, kernel // max(1, 9 * bias))


def _is_of(variant: Variant, file: WeightFile) -> bool:
    stem = _width("stem.conv_0.bias", file), _width("stem.conv_1.bias", file)
    return stem == variant.stem and all(
        _width(f"stages.{stage}.{depth - 1}.shrink_conv.bias", file) == channels
        and _width(f"stages.{stage}.{depth}.shrink_conv.bias", file) is None
        for stage, (depth, channels) in enumerate(zip(variant.depths, variant.channels, strict=True))
    )


def _width(key: str, file: WeightFile) -> int | None:
    shape = file.shapes.get(file.name(key), ())
    return shape[0] if len(shape) == 1 else None


def _architecture(variant: Variant) -> dict[str, object]:
    own = {"survival", "native", "mean", "std", "kernel_init", "bias_init"}
    return {key: value for key, value in asdict(variant).items() if key not in own}
