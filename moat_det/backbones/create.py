"""Backbones by name."""

from __future__ import annotations

from difflib import get_close_matches

from moat_det.backbones.moat import MOATBackbone
from moat_det.backbones.variants import VARIANTS
from moat_det.backbones.windows import WindowSpec, parse_windows
from moat_det.errors import UserError


def list_backbones() -> list[str]:
    """Names that `create_backbone` knows."""
    return sorted(VARIANTS)


def create_backbone(
    name: str,
    *,
    window: WindowSpec = "full",
    global_attention_at_end_of_stage: bool = False,
    pool_size: int | None = None,
    position_embedding: bool = True,
    num_classes: int | None = None,
    drop_path: float | None = None,
    in_channels: int = 3,
) -> MOATBackbone:
    """Builds a MOAT backbone with random weights.

    Args:
        name: One of `list_backbones()`.
        window: Attention windows in cells: "full" (the whole map: H/16 x W/16 and H/32 x W/32), an int or (h,
            w) for both attention stages, or one of None (the whole map), an int and (h, w) for each of the
            four stages, such as [None, None, (14, 14), (7, 7)]. A map that the windows do not fill is padded,
            and the padding masked.
        global_attention_at_end_of_stage: Let the last block of each attention stage attend over the whole
            map.
        pool_size: Kernel of the average pooling in the shortcuts, 2 or 3. None is the official choice: 2 for
            classification (with `num_classes`), else 3.
        position_embedding: Whether attention has a relative position bias.
        num_classes: Width of a classification head; the backbone then gives logits instead of feature maps.
        drop_path: Rate of dropped branches at the end of the network, in [0, 1); None is the variant's own, 0
            is off.
        in_channels: Bands of the input.

    Returns:
        A module that takes normalised images, float (B, in_channels, H, W) of any H and W from 1 pixel on, to
        {"stage1": ..., ..., "stage5": ...} or to logits (B, num_classes).

    Raises:
        UserError: No backbone has that name, or an argument is out of its range.
    """
    if name not in VARIANTS:
        near = get_close_matches(str(name), VARIANTS, n=1, cutoff=0)
        raise UserError(f"no backbone {name!r}; did you mean {near[0]!r}? There are {', '.join(list_backbones())}")
    if pool_size not in (None, 2, 3):
        raise UserError(f"pool_size {pool_size!r}: give 2, 3 or None")
    if num_classes is not None and num_classes < 1:
        raise UserError(f"num_classes {num_classes!r}: give 1 or more, or None for feature maps")
    if drop_path is not None and not 0 <= drop_path < 1:
        raise UserError(f"drop_path {drop_path!r}: give a rate from 0 to below 1, or None for the variant's own")
    if in_channels < 1:
        raise UserError(f"in_channels {in_channels!r}: give 1 or more")
    variant = VARIANTS[name]
    return MOATBackbone(
        variant,
        windows=parse_windows(window),
        global_attention_at_end_of_stage=global_attention_at_end_of_stage,
        pool_size=pool_size or (3 if num_classes is None else 2),
        position_embedding=position_embedding,
        num_classes=num_classes,
        drop_path=1 - variant.survival if drop_path is None else drop_path,
        in_channels=in_channels,
    )
