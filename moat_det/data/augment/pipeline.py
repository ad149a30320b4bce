"""The steps from images to one training sample, in order."""

from __future__ import annotations

from typing import Any

from ultralytics.data.augment import Compose, Format, RandomFlip
from ultralytics.utils import IterableSimpleNamespace

from moat_det.data.augment.bands import Hsv, Spread
from moat_det.data.augment.mixing import CutMix, MixUp
from moat_det.data.augment.mosaic import Mosaic
from moat_det.data.augment.perspective import Perspective
from moat_det.data.augment.pixels import GivenTransforms, Pixels
from moat_det.data.augment.quarter_turns import QuarterTurns


def training_transforms(dataset: Any, hyp: IterableSimpleNamespace) -> Compose:
    """Build the steps of a training sample.

    Every choice depends on the seeds of `random` and NumPy alone: partners come from the whole index, not, as with the
    engine, from the images that were read last, which differ after a resume and in each worker; and albumentations,
    whose generator is its own, only run where the user asked for them.

    A gray image comes as one band, and is one until the last step.

    Args:
        dataset: The `DetectionDataset`, where partners come from. It gives each image the shape of its sample,
            `rect_shape`; its `preset` names what is done beside the engine's augmentations.
        hyp: The engine's arguments `mosaic`, `mixup`, `degrees`, `fliplr` and so on.
    """
    affine = Perspective(hyp.degrees, hyp.translate, hyp.scale, hyp.shear, hyp.perspective)
    single = Compose([Mosaic(dataset, hyp.mosaic), affine])
    steps = [single, MixUp(dataset, single, hyp.mixup), CutMix(dataset, single, hyp.cutmix)]
    preset = dataset.preset
    if (given := getattr(hyp, "augmentations", None)) is not None:
        steps += [Spread(dataset.channels), GivenTransforms(transforms=given)]
    elif preset.transforms:
        steps.append(Pixels(preset.transforms, dataset.channels))
    steps += [
        Hsv(hyp.hsv_h, hyp.hsv_s, hyp.hsv_v, dataset.channels),
        RandomFlip(hyp.flipud, "vertical"),
        RandomFlip(hyp.fliplr, "horizontal"),
    ]
    if preset.quarter_turns:
        steps.append(QuarterTurns(preset.quarter_turns))
    steps += [Spread(dataset.channels), Format(bbox_format="xywh", normalize=True, batch_idx=True, bgr=hyp.bgr)]
    return Compose(steps)
