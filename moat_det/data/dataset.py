"""The engine's detection dataset with our reading: nothing is written into the user's data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ultralytics.data.augment import Compose, Format
from ultralytics.data.utils import get_split_fraction
from ultralytics.utils import IterableSimpleNamespace, colorstr

from moat_det.data.augment import CopyPaste, Preset, training_transforms
from moat_det.data.config import DatasetConfig
from moat_det.data.formats.yolo import label_places
from moat_det.data.images.choose_intensity import choose_intensity
from moat_det.data.index import ScanReport, open_index
from moat_det.data.loader.broken import BrokenImages, OnBroken
from moat_det.data.loader.images import ImageDataset
from moat_det.data.seeds import image_seed, seeded
from moat_det.data.sizes.letterbox import Letterbox
from moat_det.data.sizes.native import NativeSize, batches_by_shape
from moat_det.data.sizes.shape import Shape
from moat_det.errors import UserError


class DetectionDataset(ImageDataset):
    """Images and boxes for training or evaluation.

    `labels[i]` describes `im_files[i]`, after `fraction`, `classes` and `single_cls`. Besides the engine's
    keys (`shape` (h, w), `cls` (N, 1), `bboxes` (N, 4), ...) it holds `boxes_xyxy`, float64 (N, 4), in pixels
    of the file, and the regions that evaluation ignores, which are no objects to train on: `ignored_xyxy`, the same,
    and `ignored_cls` (N, 1).

    Attributes:
        report: What the scan of the labels found.
        preset: What training does to images beside the engine's augmentations.
    """

    report: ScanReport
    copy_paste: CopyPaste | None = None

    def __init__(self, *args: Any, preset: Preset | None = None, **kwargs: Any) -> None:
        """Scan the labels; takes the arguments of `ImageDataset` and `preset`.

        Raises:
            UserError: No (readable) image, a malformed label file, or no box to train on.
        """
        self.preset = preset or Preset()
        super().__init__(*args, **kwargs)

    def get_img_files(self, img_path: str | list[str]) -> list[str]:
        """Open the index of the split; the first images where `fraction` asks for a part."""
        # All classes become class 0 with single_cls, so their names do not matter.
        names = None if self.single_cls else self.data["names"]
        self.index = open_index(img_path, names, self.data.get("image_roots"), self.fraction, self.prefix)
        return list(self.index.paths)

    def get_labels(self) -> list[dict[str, Any]]:
        """Give the boxes of the index, and say what it found."""
        self.report = self.index.report
        self.report.log(self.prefix)
        self.intensity = self.data["intensity"]
        if self.augment and self.report.deep:
            files = [Path(file) for file in self.im_files]
            self.intensity = choose_intensity(self.intensity, files, self.channels, self.prefix)
        if self.augment and not self.report.labelled:
            way_out = f"put its labels into files such as {label_places(self.im_files[0])[0]}"
            if self.index.formats != ["yolo"]:
                way_out = "add objects to its annotations"
            images = self.report.images
            raise UserError(f"{self.img_path}: none of its {images} images has a box to train on; {way_out}")
        self.broken = BrokenImages(len(self.im_files))
        return self.index.labels()

    def update_labels(self, include_class: list[int] | None) -> None:
        """Keep the boxes of the classes asked for; all become class 0 with `single_cls`."""
        if include_class is not None:
            for label in self.labels:
                label["boxes_xyxy"] = label["boxes_xyxy"][np.isin(label["cls"][:, 0], include_class)]
                ignored = np.isin(label["ignored_cls"][:, 0], include_class)
                label["ignored_cls"], label["ignored_xyxy"] = (
                    label["ignored_cls"][ignored],
                    label["ignored_xyxy"][ignored],
                )
        super().update_labels(include_class)
        if self.single_cls:
            for label in self.labels:
                label["ignored_cls"] = np.zeros_like(label["ignored_cls"])
        if self.augment and not any(len(label["cls"]) for label in self.labels):
            raise UserError(f"{self.img_path}: no box of the classes {include_class} to train on; correct 'classes'")

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Give a sample for training, or for evaluation."""
        with seeded(image_seed(self.seed, self.epoch, index)):
            return super().__getitem__(index)

    def set_rectangle(self) -> None:
        """Sort by aspect ratio, as the engine does, but keep the images' sizes in the labels.

        At native size each image has a shape of its own, which `batches` groups them by; a fixed shape is that of all.
        """
        if self.fixed_shape:
            self.batch = np.arange(self.ni) // self.batch_size
            self.batch_shapes = np.tile(self.shape, (self.batch[-1] + 1, 1))
            return
        if self.native is not None:
            self.batch_shapes = np.array([self.native.padded(*label["shape"]) for label in self.labels])
            self.batch = np.arange(self.ni)
            return
        shapes = {label["im_file"]: label["shape"] for label in self.labels}
        super().set_rectangle()
        for label in self.labels:
            label["shape"] = shapes[label["im_file"]]

    def batches(self) -> list[list[int]]:
        """Indices of the images of each batch in evaluation; the images of a batch have one shape."""
        if self.native is not None:
            return batches_by_shape([self.padded_shape(i) for i in range(self.ni)], self.batch_size)
        return [np.flatnonzero(self.batch == number).tolist() for number in range(len(self.batch_shapes))]

    def padded_shape(self, index: int) -> tuple[int, int]:
        """Height and width of an image after scaling and padding, in evaluation."""
        height, width = self.batch_shapes[self.batch[index]]
        return int(height), int(width)

    def build_transforms(self, hyp: IterableSimpleNamespace) -> Compose:
        """The steps of a training sample, or the letterbox of evaluation.

        At native size the padding is at the bottom and the right, as in prediction, so that no pixel moves.
        """
        if self.augment:
            mirror = (hyp.fliplr > 0, hyp.flipud > 0)
            self.copy_paste = CopyPaste(self, hyp.copy_paste, mirror) if hyp.copy_paste else None
            return training_transforms(self, hyp)
        letterbox = Letterbox(self.shape, scaleup=False, center=self.native is None)
        return Compose([letterbox, Format(bbox_format="xywh", normalize=True, batch_idx=True)])

    def _single(self, index: int) -> dict[str, Any]:
        """Give an image and its boxes, perhaps with a defect of another image: all that a mosaic takes from it."""
        sample = super()._single(index)
        return sample if self.copy_paste is None else self.copy_paste(sample, index)

    def update_labels_info(self, label: dict[str, Any]) -> dict[str, Any]:
        """Drop our keys: a batch stacks keys by position, and a mosaic would not have them."""
        for key in ("boxes_xyxy", "ignored_xyxy", "ignored_cls"):
            label.pop(key)
        return super().update_labels_info(label)


def build_dataset(
    args: IterableSimpleNamespace,
    img_path: str | list[str],
    batch: int,
    data: DatasetConfig,
    mode: str = "train",
    rect: bool = False,
    stride: int = 32,
    native: NativeSize | None = None,
    shape: Shape | None = None,
    preset: Preset | None = None,
    on_broken: OnBroken = "refuse",
) -> DetectionDataset:
    """Build the dataset of a split from the engine's arguments.

    Args:
        args: The engine's arguments (`imgsz`, `cache`, `single_cls`, `classes`, `fraction`, `split`, ...).
        img_path: What `train`, `val` or `test` of `data` names.
        batch: Images per batch.
        data: The dataset, as `moat_det.data.config.load_dataset` gives it.
        mode: "train" augments; anything else evaluates.
        rect: Batches of rectangles; also on with `args.rect`.
        stride: The model's largest stride, of which the sides of rectangles are multiples.
        native: Take each image at its own size instead of `args.imgsz`; needs `rect`.
        shape: Height and width of every sample, instead of squares or rectangles of `args.imgsz`.
        preset: What training does to images beside the engine's augmentations.
        on_broken: What stands in for an image that can no longer be read.

    Returns:
        The dataset.

    Raises:
        UserError: As `DetectionDataset`, or `fraction` selects no image.
    """
    train = mode == "train"
    fraction = get_split_fraction(args.fraction, "train" if train else args.split)
    if not fraction:
        raise UserError(f"fraction={args.fraction} leaves no image of '{args.split}'; give it a share above 0")
    return DetectionDataset(
        img_path=img_path,
        imgsz=args.imgsz,
        batch_size=batch,
        augment=train,
        hyp=args,
        rect=args.rect or rect,
        cache=args.cache or None,
        single_cls=args.single_cls or False,
        stride=stride,
        pad=0.0 if train else 0.5,
        prefix=colorstr(f"{mode}: "),
        task=args.task,
        classes=args.classes,
        data=data,
        fraction=fraction,
        native=native,
        shape=shape,
        preset=preset,
        seed=args.seed,
        on_broken=on_broken,
    )
