"""Which part of a split `fraction` asks for."""

from __future__ import annotations

from collections.abc import Sequence

from moat_det.errors import UserError

_SPLITS = ("train", "val", "test")

Fraction = float | int | Sequence[float | int]
"""A share, or a number above 1, of the training images; or a list of such for train, val and test."""


def split_fraction(fraction: Fraction, split: str) -> float | int:
    """Give the share (a float, 1.0 for all) or the number (an int) of the images of a split that are taken.

    Raises:
        UserError: It leaves no image.
    """
    if isinstance(fraction, Sequence):
        part = dict(zip(_SPLITS, fraction, strict=False)).get(split, 1.0)
    else:
        part = fraction if split == "train" else 1.0
    if not part:
        raise UserError(f"fraction={fraction} leaves no image of '{split}'; give it a share above 0")
    return 1.0 if part == 1 else part
