"""MOAT backbones by name."""

from __future__ import annotations

from typing import Any

from moat_det.backbones.moat.backbone import MOATBackbone
from moat_det.backbones.moat.overrides import find_variant
from moat_det.backbones.moat.variants import VARIANTS
from moat_det.backbones.windows import WindowSpec
from moat_det.errors import UserError


def create_moat(
    name: str,
    *,
    window: WindowSpec = "full",
    global_attention_at_end_of_stage: bool = False,
    pool_size: int | None = None,
    position_embedding: bool = True,
    num_classes: int | None = None,
    drop_path: float | None = None,
    checkpoint_attention: bool = False,
    in_channels: int = 3,
    base: str | None = None,
    **overrides: Any,
) -> MOATBackbone:
    """Build a MOAT backbone with random weights.

    Args:
        name: One of `VARIANTS`; or with `base` a name of your own.
        window: Attention windows: "full" (the whole map: H/16 x W/16 and H/32 x W/32), "auto" (the whole map up
            to a number of cells, else its largest even part), an int or (h, w) cells, or one of these for each of
            the four stages, such as [None, None, (14, 14), "full"]; see `windows.parse_windows`. Windows that
            reach over the end of the map end with it, as if it were padded and the padding masked.
            `set_windows` changes them.
        global_attention_at_end_of_stage: Let the last block of each attention stage attend over the whole
            map.
        pool_size: Kernel of the average pooling in the shortcuts, 2 or 3. None is the official choice: 2 for
            classification (with `num_classes`), else 3.
        position_embedding: Whether attention has a relative position bias.
        num_classes: Width of a classification head; the backbone then gives logits instead of feature maps.
        drop_path: Rate of dropped branches at the end of the network, in [0, 1); None is the variant's own, 0
            is off.
        checkpoint_attention: Compute attention anew in the backward pass instead of keeping what it needs:
            the same gradients in less memory.
        in_channels: Bands of the input.
        base: The one of `VARIANTS` that `name` is made of.
        **overrides: Settings of the variant instead of its own, `depths` and `channels` for example: `SETTINGS` of
            `moat.overrides`, which `Variant` explains.

    Returns:
        A module that takes normalised images, float (B, in_channels, H, W) of any H and W from 1 pixel on, to
        {"stage1": ..., ..., "stage5": ...} or to logits (B, num_classes).

    Raises:
        UserError: No backbone has that name, or an argument is unknown or out of its range.
    """
    if base is not None and name in VARIANTS:
        raise UserError(f"{name} is the name of a released variant: give what is made of {base} a name of its own")
    variant = find_variant(base or name, **overrides)
    if pool_size not in (None, 2, 3):
        raise UserError(f"pool_size {pool_size!r}: give 2, 3 or None")
    if num_classes is not None and num_classes < 1:
        raise UserError(f"num_classes {num_classes!r}: give 1 or more, or None for feature maps")
    if drop_path is not None and not 0 <= drop_path < 1:
        raise UserError(f"drop_path {drop_path!r}: give a rate from 0 to below 1, or None for the variant's own")
    if in_channels < 1:
        raise UserError(f"in_channels {in_channels!r}: give 1 or more")
    return MOATBackbone(
        variant,
        window=window,
        global_attention_at_end_of_stage=global_attention_at_end_of_stage,
        pool_size=pool_size or (3 if num_classes is None else 2),
        position_embedding=position_embedding,
        num_classes=num_classes,
        drop_path=1 - variant.survival if drop_path is None else drop_path,
        checkpoint_attention=checkpoint_attention,
        in_channels=in_channels,
    )
