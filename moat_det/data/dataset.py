"""The engine's detection dataset with our reading: nothing is written into the user's data."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from ultralytics.data.augment import Compose, LetterBox
from ultralytics.data.dataset import YOLODataset
from ultralytics.data.utils import get_split_fraction
from ultralytics.utils import LOCAL_RANK, IterableSimpleNamespace, colorstr

from moat_det.data.augment import training_transforms
from moat_det.data.choose_intensity import choose_intensity
from moat_det.data.index import ScanReport, open_index
from moat_det.data.index.yolo import label_places
from moat_det.data.intensity import Intensity
from moat_det.data.native import NativeSize, batches_by_shape
from moat_det.data.read import read_input
from moat_det.data.seeds import image_seed, seeded
from moat_det.errors import UserError

_NO_FILE = Path(os.devnull, "none.npy")  # cannot exist


class DetectionDataset(YOLODataset):
    """Images and boxes for training or evaluation.

    `labels[i]` describes `im_files[i]`, after `fraction`, `classes` and `single_cls`. Besides the engine's
    keys (`shape` (h, w), `cls` (N, 1), `bboxes` (N, 4), ...) it holds `boxes_xyxy`, float64 (N, 4), in pixels
    of the file, and the regions that evaluation ignores, which are no objects to train on: `ignored_xyxy`, the same,
    and `ignored_cls` (N, 1).

    Attributes:
        report: What the scan of the labels found.
        intensity: How images of more than 8 bits become the model's input; chosen here where it trains.
        native: The size of each image where it is not `imgsz`; for evaluation only.
        seed: Of the random choices; with the epoch and the image it decides each.
        epoch: To be set before an epoch's loader starts its workers.
    """

    report: ScanReport
    intensity: Intensity
    im_files: list[str]
    epoch = 0

    def __init__(self, *args: Any, native: NativeSize | None = None, seed: int = 0, **kwargs: Any) -> None:
        """Scan the labels; takes the arguments of the engine's `YOLODataset`, `native` and `seed`.

        Raises:
            UserError: No (readable) image, a malformed label file, no box to train on, or `cache="disk"`.
        """
        if str(kwargs.get("cache")).lower() == "disk":
            raise UserError("--cache disk would write into your data; use --cache ram, or none")
        self.native = native
        self.seed = seed
        super().__init__(*args, **kwargs)

    @property
    def npy_files(self) -> list[Path]:
        """The image.npy caches beside the images: none, or the engine would read and rewrite them."""
        return [_NO_FILE] * len(self.im_files)

    @npy_files.setter
    def npy_files(self, files: list[Path]) -> None:
        pass

    def get_img_files(self, img_path: str | list[str]) -> list[str]:
        """Open the index of the split; the first images where `fraction` asks for a part."""
        # All classes become class 0 with single_cls, so their names do not matter.
        names = None if self.single_cls else self.data["names"]
        self.index = open_index(img_path, names, self.data.get("image_roots"), self.fraction, self.prefix)
        return list(self.index.paths)

    def get_labels(self) -> list[dict[str, Any]]:
        """Give the boxes of the index, and say what it found."""
        self.report = self.index.report
        if LOCAL_RANK in {-1, 0}:
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

        At native size each image has a shape of its own, which `batches` groups them by.
        """
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
        """The engine's steps with our changes; at native size the padding is at the bottom and the right.

        So it is in prediction, and no pixel moves.
        """
        transforms = super().build_transforms(hyp)
        if self.augment:
            return training_transforms(transforms, given=getattr(hyp, "augmentations", None) is not None)
        for transform in transforms.transforms:
            if isinstance(transform, LetterBox) and self.native is not None:
                transform.center = False
        return transforms

    def load_image(self, i: int) -> tuple[np.ndarray, tuple[int, int], tuple[int, int]]:
        """Read an image and scale its longer side to `imgsz`, or not at native size.

        Returns:
            The image (H, W, channels) uint8, BGR where there are three, its (h, w) in the file and its (h, w) now.

        Raises:
            UserError: The image cannot be read.
        """
        if self.ims[i] is not None:
            return self.ims[i], self.im_hw0[i], self.im_hw[i]
        try:
            image = read_input(self.im_files[i], self.intensity, self.channels)
        except OSError as error:
            reason = f"{error.strerror or error}; replace the image, or take it out of the dataset"
            raise UserError(f"{self.im_files[i]}: {reason}") from error
        height, width = image.shape[:2]
        scaled = self._scale(image) if self.native is None else self.native.scale(image)
        if self.augment and self.cache != "ram":
            self._keep(i, scaled, (height, width))
        return scaled, (height, width), (scaled.shape[0], scaled.shape[1])

    def _scale(self, image: np.ndarray) -> np.ndarray:
        """Scale the longer side to `imgsz`, as the engine does."""
        longest = np.max(self.imgsz)
        ratio = longest / max(image.shape[:2])
        if ratio == 1:
            return image
        height, width = (min(math.ceil(side * ratio), longest) for side in image.shape[:2])
        scaled = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        return scaled.reshape(height, width, -1)  # of one band, cv2 drops the axis

    def _keep(self, i: int, scaled: np.ndarray, size: tuple[int, int]) -> None:
        """Keep the images that were read last, as the engine does: a mosaic may want them again."""
        self.ims[i], self.im_hw0[i], self.im_hw[i] = scaled, size, scaled.shape[:2]
        self.buffer.append(i)
        if 1 < len(self.buffer) >= self.max_buffer_length:
            oldest = self.buffer.pop(0)
            self.ims[oldest], self.im_hw0[oldest], self.im_hw[oldest] = None, None, None

    def update_labels_info(self, label: dict[str, Any]) -> dict[str, Any]:
        """Drop our keys: a batch stacks keys by position, and a mosaic would not have them."""
        for key in ("boxes_xyxy", "ignored_xyxy", "ignored_cls"):
            label.pop(key)
        return super().update_labels_info(label)


def build_dataset(
    args: IterableSimpleNamespace,
    img_path: str | list[str],
    batch: int,
    data: dict[str, Any],
    mode: str = "train",
    rect: bool = False,
    stride: int = 32,
    native: NativeSize | None = None,
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
        seed=args.seed,
    )
