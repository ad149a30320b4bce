"""The steps from images to one training sample, in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ultralytics.data.augment import Albumentations, Compose, Mosaic


def training_transforms(transforms: Compose, given: bool) -> Compose:
    """Make the engine's augmentations depend on the seeds of `random` and NumPy alone.

    Its mosaic draws partners from the images that were read last, which differ after a resume and in each worker:
    ours draws from the whole index. And where albumentations happens to be installed it adds blur and others,
    with a generator of their own: they go, unless the user asked for them.

    Args:
        transforms: The engine's, which are changed in place.
        given: Whether the user asked for albumentations.
    """
    if not given:
        transforms.transforms = [t for t in transforms.transforms if not isinstance(t, Albumentations)]
    for transform in _flatten(transforms):
        if isinstance(transform, Mosaic):
            transform.buffer_enabled = False
    return transforms


def _flatten(transform: Any) -> Iterator[Any]:
    yield transform
    for part in getattr(transform, "transforms", ()):
        yield from _flatten(part)
