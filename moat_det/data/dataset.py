"""The engine's detection dataset with our reading: nothing is written into the user's data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from ultralytics.data.augment import Albumentations, Compose, Mosaic
from ultralytics.data.dataset import YOLODataset
from ultralytics.data.utils import get_split_fraction
from ultralytics.utils import LOCAL_RANK, IterableSimpleNamespace, colorstr

from moat_det.data.images import find_images
from moat_det.data.labels import ScanReport, label_path, scan
from moat_det.errors import UserError

_NO_FILE = Path(os.devnull, "none.npy")  # cannot exist


class DetectionDataset(YOLODataset):
    """Images and boxes for training or evaluation.

    `labels[i]` describes `im_files[i]`, after `fraction`, `classes` and `single_cls`. Besides the engine's
    keys (`shape` (h, w), `cls` (N, 1), `bboxes` (N, 4), ...) it holds `boxes_xyxy`: float64 (N, 4), in pixels
    of the file.

    Attributes:
        report: What the scan of the labels found.
    """

    report: ScanReport
    im_files: list[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Scan the labels; takes the arguments of the engine's `YOLODataset`.

        Raises:
            UserError: No (readable) image, a malformed label file, no box to train on, or `cache="disk"`.
        """
        if str(kwargs.get("cache")).lower() == "disk":
            raise UserError("--cache disk would write into your data; use --cache ram, or none")
        super().__init__(*args, **kwargs)

    @property
    def npy_files(self) -> list[Path]:
        """The image.npy caches beside the images: none, or the engine would read and rewrite them."""
        return [_NO_FILE] * len(self.im_files)

    @npy_files.setter
    def npy_files(self, files: list[Path]) -> None:
        pass

    def get_img_files(self, img_path: str | list[str]) -> list[str]:
        """Find the images, sorted; the first ones where `fraction` asks for a part."""
        files = [str(path) for path in find_images(img_path)]
        count = self.fraction if isinstance(self.fraction, int) else max(1, round(len(files) * self.fraction))
        return files[:count]

    def get_labels(self) -> list[dict[str, Any]]:
        """Scan images and label files; drop the images that cannot be read."""
        # All classes become class 0 with single_cls, so their ids do not matter.
        num_classes = None if self.single_cls else len(self.data["names"])
        labels, self.report = scan([Path(file) for file in self.im_files], num_classes, self.prefix)
        if LOCAL_RANK in {-1, 0}:
            self.report.log(self.prefix)
        self.im_files = [label["im_file"] for label in labels]
        if self.augment and not self.report.labelled:
            raise UserError(
                f"{self.img_path}: none of its {len(labels)} images has a box to train on; put its labels "
                f"into files such as {label_path(Path(self.im_files[0]))}"
            )
        return labels

    def update_labels(self, include_class: list[int] | None) -> None:
        """Keep the boxes of the classes asked for; all become class 0 with `single_cls`."""
        if include_class is not None:
            for label in self.labels:
                label["boxes_xyxy"] = label["boxes_xyxy"][np.isin(label["cls"][:, 0], include_class)]
        super().update_labels(include_class)
        if self.augment and not any(len(label["cls"]) for label in self.labels):
            raise UserError(f"{self.img_path}: no box of the classes {include_class} to train on; correct 'classes'")

    def set_rectangle(self) -> None:
        """Sort by aspect ratio, as the engine does, but keep the images' sizes in the labels."""
        shapes = {label["im_file"]: label["shape"] for label in self.labels}
        super().set_rectangle()
        for label in self.labels:
            label["shape"] = shapes[label["im_file"]]

    def build_transforms(self, hyp: IterableSimpleNamespace) -> Compose:
        """The engine's augmentations, made to depend on the seeds of `random` and numpy alone.

        Its mosaic draws partners from the images that were read last, which differ after a resume and in each worker:
        ours draws from the whole index. And where albumentations happens to be installed it adds blur and others,
        with a generator of their own: they go, unless the user asked for them.
        """
        transforms = super().build_transforms(hyp)
        if getattr(hyp, "augmentations", None) is None:
            transforms.transforms = [t for t in transforms.transforms if not isinstance(t, Albumentations)]
        for transform in _flatten(transforms):
            if isinstance(transform, Mosaic):
                transform.buffer_enabled = False
        return transforms

    def load_image(
        self, i: int, rect_mode: bool = True, resize_short: bool = False
    ) -> tuple[np.ndarray, tuple[int, int], tuple[int, int]]:
        """Read an image and scale it to `imgsz`.

        Returns:
            The image (H, W, 3) uint8 BGR, its (h, w) in the file and its (h, w) now.

        Raises:
            UserError: The image cannot be read.
        """
        try:
            return super().load_image(i, rect_mode, resize_short)
        except (OSError, cv2.error) as error:
            raise UserError(
                f"{self.im_files[i]}: the image is damaged or gone; replace it, or take it out of the dataset"
            ) from error

    def update_labels_info(self, label: dict[str, Any]) -> dict[str, Any]:
        """Drop our key: a batch stacks keys by position, and a mosaic would not have it."""
        label.pop("boxes_xyxy")
        return super().update_labels_info(label)


def _flatten(transform: Any) -> Iterator[Any]:
    yield transform
    for part in getattr(transform, "transforms", ()):
        yield from _flatten(part)


def build_dataset(
    args: IterableSimpleNamespace,
    img_path: str | list[str],
    batch: int,
    data: dict[str, Any],
    mode: str = "train",
    rect: bool = False,
    stride: int = 32,
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
    )
