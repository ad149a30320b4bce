"""The samples of a split, for training or for evaluation; nothing is written into the user's data."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from ultralytics.data.augment import Compose, Format
from ultralytics.utils import IterableSimpleNamespace, colorstr
from ultralytics.utils.instance import Instances

from moat_det.data.augment import CopyPaste, Preset, training_transforms
from moat_det.data.config import DatasetConfig, reading, split_paths
from moat_det.data.formats.yolo_files import label_places
from moat_det.data.fraction import Fraction, split_fraction
from moat_det.data.images.broken import BrokenImageError
from moat_det.data.images.choose_intensity import choose_intensity
from moat_det.data.index import SplitIndex, open_index
from moat_det.data.index.labels import keep_classes
from moat_det.data.loader.broken import OnBroken
from moat_det.data.loader.good_parts import GoodParts
from moat_det.data.loader.images import Cache, Images
from moat_det.data.of_model import settle_intensity
from moat_det.data.seeds import image_seed, seeded
from moat_det.data.sizes.letterbox import Placement, letterbox
from moat_det.data.sizes.policy import Batch, SizePolicy, TrainingRectangles
from moat_det.data.sizes.shape import shrink_within
from moat_det.errors import UserError

logger = logging.getLogger(__name__)

_CACHES: dict[str, Cache] = {"true": "ram", "ram": "ram", "disk": "disk"}


@dataclass(frozen=True)
class DatasetOptions:
    """What a dataset takes beside its files and sizes.

    Attributes:
        batch: Images in a batch.
        fraction: Which part of the split is taken.
        classes: The classes whose boxes are kept; None keeps all.
        single_cls: Let all classes be class 0.
        cache: Where the scaled images are kept.
        seed: Of the random choices; with the epoch and the image it decides each.
        on_broken: What stands in for an image that can no longer be read.
        good_parts: The share of images without objects in an epoch of training, as `GoodParts` takes it.
        rare_classes: The share of images below which a class is rare, as `GoodParts` takes it; 0 is off.
    """

    batch: int
    fraction: Fraction = 1.0
    classes: Sequence[int] | None = None
    single_cls: bool = False
    cache: Cache | None = None
    seed: int = 0
    on_broken: OnBroken = "refuse"
    good_parts: float | None = None
    rare_classes: float = 0.0

    @classmethod
    def of(
        cls,
        args: IterableSimpleNamespace,
        batch: int,
        on_broken: OnBroken = "refuse",
        good_parts: float | None = None,
        rare_classes: float = 0.0,
    ) -> DatasetOptions:
        """Take them from the engine's arguments."""
        cache, own = _CACHES.get(str(args.cache).lower()), (on_broken, good_parts, rare_classes)
        return cls(batch, args.fraction, args.classes, bool(args.single_cls), cache, args.seed, *own)


class DetectionDataset(Dataset[dict[str, Any]]):
    """Images and boxes of a split.

    `labels[i]` describes `im_files[i]`, after `fraction`, `classes` and `single_cls`, in the order of `batches`. It
    holds `shape` (h, w), `cls` (N, 1) and `bboxes` (N, 4), shares, xywh, as the engine has them; `boxes_xyxy`,
    float64 (N, 4), in pixels of the file; and the regions that evaluation ignores, which are no objects to train on:
    `ignored_xyxy`, the same, and `ignored_cls` (N, 1).

    A sample is the engine's: `img` uint8 (C, H, W), RGB where there are three channels, `cls` and `bboxes` as above,
    `batch_idx`, `im_file`, `ori_shape`, `resized_shape`, and in evaluation `placement`, which leads back to the file's
    pixels.

    Args:
        data: The dataset, as `moat_det.data.config.load_dataset` gives it.
        split: Which of its splits: "train", "val" or "test".
        sizes: How large the samples are.
        options: What else there is to say.
        hyp: The engine's arguments `mosaic`, `degrees`, `fliplr` and so on, to train; None evaluates.
        preset: What training does to images beside the engine's augmentations.

    Attributes:
        batches: The images of each batch in their order, and its shape.
        epoch: Whose random choices are drawn; its setting reaches the workers, between two epochs.
        images: The images.
        good_parts: Which images an epoch takes; None for all, once: in evaluation, and where each batch has its own
            shape.
        index: What the split's files say.
        intensity: How images of more than 8 bits become the model's input.
        shapes: Height and width of each sample.

    Raises:
        UserError: No (readable) image, a malformed label file, or no box to train on.
    """

    def __init__(
        self,
        data: DatasetConfig,
        split: str,
        sizes: SizePolicy,
        options: DatasetOptions,
        hyp: IterableSimpleNamespace | None = None,
        preset: Preset | None = None,
    ) -> None:
        training, self.prefix = hyp is not None, colorstr(f"{split}: ")
        self.channels: int = data["channels"]
        self.seed, self.preset = options.seed, preset or Preset()
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        # All classes become class 0 with single_cls, so their names do not matter.
        names = None if options.single_cls else data["names"]
        part, paths = split_fraction(options.fraction, split), split_paths(data, split)
        self.index = open_index(paths, names, part=part, prefix=self.prefix, **reading(data))
        self.index.report.log(self.prefix, self.channels)
        self.intensity = data["intensity"]
        if training and self.index.report.deep:
            files = [Path(file) for file in self.index.paths]
            self.intensity = choose_intensity(self.intensity, files, self.channels, self.prefix)
        elif not training:
            self.intensity = settle_intensity(
                self.intensity, self.index.paths, self.index.report.deep, self.channels, self.prefix
            )
        labels = self.index.labels()
        for label in labels:
            keep_classes(label, options.classes, options.single_cls)
        if training:
            _check_boxes(self.index, labels, ", ".join(paths), options.classes)

        batches = sizes.batches([label["shape"] for label in labels], options.batch)
        self.labels = [labels[i] for batch in batches for i in batch.images]
        self.im_files: list[str] = [label["im_file"] for label in self.labels]
        places = iter(range(len(labels)))
        self.batches = [Batch(list(islice(places, len(images))), shape) for images, shape in batches]
        self.shapes = [batch.shape for batch in self.batches for _ in batch.images]
        self.sizes, self.batch_size = sizes, options.batch
        self.images = Images(
            self.im_files,
            [label["shape"] for label in self.labels],
            sizes,
            self.intensity,
            self.channels,
            training=training,
            on_broken=options.on_broken,
            cache=options.cache,
            prefix=self.prefix,
        )
        self.good_parts: GoodParts | None = None
        if training and not isinstance(sizes, TrainingRectangles):
            chosen = GoodParts(self.labels, options.good_parts, options.seed, options.rare_classes)
            self.good_parts = None if chosen.takes_all_once else chosen
        elif options.good_parts is not None or options.rare_classes:
            given = "--rare-classes" if options.good_parts is None else "--good-parts"
            raise UserError(f"{given}: with --rect an epoch takes every image once; leave one of the two out")
        self.copy_paste: CopyPaste | None = None
        self.transforms = self.build_transforms(copy(hyp))

    def __len__(self) -> int:
        """Images."""
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Give a sample; each draws from (seed, epoch, index). Past the last one they begin again, with other draws."""
        with seeded(image_seed(self.seed, self.epoch, index)):
            sample = self.transforms(self.get_image_and_label(index % len(self)))
        del sample["rect_shape"]
        return sample

    def partner(self) -> int:
        """Draw an image to mix into another."""
        return random.randrange(len(self)) if self.good_parts is None else self.good_parts.partner()

    @property
    def epoch(self) -> int:
        """The epoch whose random choices are drawn."""
        return int(self._epoch)

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch.fill_(epoch)

    def get_image_and_label(self, index: int) -> dict[str, Any]:
        """Give an image and its boxes; those of another image, drawn for it, where it is broken and to be replaced.

        Returns:
            `img` (H, W, C), scaled and not yet padded, `cls`, `instances`, and `rect_shape`, the shape of the sample.
        """
        try:
            return self._single(index)
        except BrokenImageError as error:
            reason = error
        for other in np.random.default_rng([self.seed, self.epoch, index]).permutation(len(self)).tolist():
            try:
                return self._single(other) | {"rect_shape": self.shapes[index]}
            except BrokenImageError:
                continue
        raise UserError(f"none of the images can be read any more: {reason}")

    def build_transforms(self, hyp: IterableSimpleNamespace | None) -> Compose:
        """Give the steps of a training sample, or the letterbox of evaluation."""
        if hyp is None:
            return Compose([self._letterbox, Format(bbox_format="xywh", normalize=True, batch_idx=True)])
        mirror = (hyp.fliplr > 0, hyp.flipud > 0)
        self.copy_paste = CopyPaste(self, hyp.copy_paste, mirror) if hyp.copy_paste else None
        return training_transforms(self, hyp)

    def close_mosaic(self, hyp: IterableSimpleNamespace) -> None:
        """Go on without steps that mix images; the engine calls it for the last epochs."""
        hyp.mosaic = hyp.copy_paste = hyp.mixup = hyp.cutmix = 0.0
        self.transforms = self.build_transforms(hyp)

    @staticmethod
    def collate_fn(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Make a batch: images (B, C, H, W), and the boxes of all, whose images `batch_idx` tells; else tuples."""
        batch: dict[str, Any] = {key: tuple(sample[key] for sample in samples) for key in sorted(samples[0])}
        batch["img"] = torch.stack(batch["img"])
        batch["batch_idx"] = tuple(marks + number for number, marks in enumerate(batch["batch_idx"]))
        return batch | {key: torch.cat(batch[key]) for key in ("cls", "bboxes", "batch_idx")}

    def _single(self, index: int) -> dict[str, Any]:
        """Give an image and its boxes, perhaps with a defect of another image: all that a mosaic takes from it."""
        label, (image, size) = self.labels[index], self.images.load(index)
        height, width = image.shape[:2]
        sample = {
            "im_file": label["im_file"],
            "cls": label["cls"].copy(),
            "instances": Instances(label["bboxes"].copy(), bbox_format="xywh", normalized=True),
            "img": image,
            "ori_shape": size,
            "resized_shape": (height, width),
            "rect_shape": self.shapes[index],
        }
        return sample if self.copy_paste is None else self.copy_paste(sample, index)

    def _letterbox(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Pad a sample to its shape, and move its boxes along."""
        shape, image, instances = sample["rect_shape"], sample["img"], sample["instances"]
        scaled = shrink_within(image.shape, shape)  # its own, unless the file is another than the indexed one
        place = Placement.of(sample["ori_shape"], scaled, shape, self.sizes.centred)
        instances.convert_bbox("xyxy")
        instances.denormalize(*scaled[::-1])
        instances.add_padding(place.left, place.top)
        padded = letterbox(image, scaled, shape, self.sizes.centred)
        return {**sample, "img": padded, "resized_shape": shape, "placement": place}


def _check_boxes(
    index: SplitIndex, labels: Sequence[dict[str, Any]], where: str, classes: Sequence[int] | None
) -> None:
    """Raise `UserError` where there is no box to train on."""
    if not index.report.labelled:
        way_out = f"put its labels into files such as {label_places(index.paths[0])[0]}"
        if index.formats != ["yolo"]:
            way_out = "add objects to its annotations"
        raise UserError(f"{where}: none of its {index.report.images} images has a box to train on; {way_out}")
    if not any(len(label["cls"]) for label in labels):
        raise UserError(f"{where}: no box of the classes {classes} to train on; correct 'classes'")
