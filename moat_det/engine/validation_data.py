"""What a validation measures on: the split, its batches, and the evaluator with its ground truth."""

from __future__ import annotations

import logging
import math
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ultralytics.utils.checks import check_imgsz

from moat_det.data.config import DatasetConfig, check_channels, load_dataset
from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.data.images.intensity import Intensity
from moat_det.data.loader.dataset import DatasetOptions, DetectionDataset
from moat_det.data.loader.loader import Loader, default_workers, make_loader
from moat_det.demo import dataset_source
from moat_det.detector.base import BaseDetector
from moat_det.engine.distributed.group import ALONE, Group
from moat_det.engine.inference_options import InferenceOptions
from moat_det.errors import UserError
from moat_det.evaluation import CocoEvaluator, coco_ground_truth, load_annotations, number_categories, number_images
from moat_det.messages import as_given, some

logger = logging.getLogger(__name__)

_SHOWN_NAMES = 10


def read_data(args: Any, model: BaseDetector, intensity: Intensity) -> DatasetConfig:
    """Read the dataset's YAML, and check that the model is for it.

    Args:
        args: The engine's arguments: `data`, `split` and `single_cls`.
        model: To be measured.
        intensity: That of its training, by which images are read, whatever the YAML says now.

    Raises:
        UserError: The YAML is not in order, or its classes or channels are not the model's.
    """
    data = load_dataset(dataset_source(args.data), split=args.split)
    known, wanted = list(model.names.values()), list(data["names"].values())
    if known != wanted and not args.single_cls:
        pairs = enumerate(zip_longest(known, wanted))
        first = next(number for number, (name, other) in pairs if name != other)
        raise UserError(
            f"the weights know the classes {some(known, _SHOWN_NAMES)}; {as_given(args.data)} has "
            f"{some(wanted, _SHOWN_NAMES)}; the first that differs is number {first}: "
            "validate with the data's own weights, or bring 'names' into the weights' order"
        )
    check_channels(model.yaml["channels"], data)
    if data["intensity"].kind not in {"auto", intensity.kind}:
        logger.warning(
            f"{args.data}: 'intensity: {data['intensity']}' is not used, the weights were trained with {intensity}"
        )
    data["intensity"] = intensity
    return data


def open_split(
    args: Any,
    data: DatasetConfig,
    options: InferenceOptions,
    stride: int,
    device: torch.device,
    workers: int | None,
    group: Group = ALONE,
) -> Loader:
    """Make the batches of the split, each of images of one shape.

    Args:
        args: The engine's arguments.
        data: As `read_data` gives it.
        options: Our own.
        stride: The model's largest, in pixels.
        device: Where the batches go.
        workers: Processes that read images; as many as suit the device when None.
        group: The processes that validate together, of which each takes batches of its own.

    Raises:
        UserError: The split holds no image, or a label that cannot be read.
    """
    args.imgsz = check_imgsz(args.imgsz, stride=stride, max_dim=1)
    sizes = options.sizes(args.imgsz, stride)
    dataset = DetectionDataset(data, args.split, sizes, DatasetOptions.of(args, args.batch))
    workers = default_workers(device) // group.local_size if workers is None else workers
    if options.native:
        workers = min(workers, 2)  # since each holds whole images
        scaled = sum(sizes.scaled(*label["shape"]) != label["shape"] for label in dataset.labels)
        if scaled:
            logger.warning(f"{scaled} of {len(dataset)} images are scaled down by --max-pixels")
    return make_loader(dataset, workers, device, rank=group.rank, ranks=group.size)


def largest_batch(dataset: DetectionDataset) -> tuple[tuple[int, int, int, int], str]:
    """Give the shape (B, C, H, W) of the batch of the most pixels, and its first image."""
    images, shape = max(dataset.batches, key=lambda batch: len(batch.images) * math.prod(batch.shape))
    return (len(images), dataset.channels, *shape), dataset.im_files[images[0]]


def make_evaluator(dataset: DetectionDataset, names: dict[int, str], annotations: str | None) -> CocoEvaluator:
    """Make the evaluator of a split.

    Args:
        dataset: The split.
        names: Class index -> name.
        annotations: The user's own COCO JSON, whose ids and boxes to use instead of the dataset's labels.

    Raises:
        UserError: The JSON is not in order, or not of this split.
    """
    images = dataset_ground_truth(dataset)
    paths = [Path(image.path) for image in images]
    if annotations is not None:
        return CocoEvaluator(*load_annotations(Path(annotations), paths, names), names)
    truth = coco_ground_truth(images, names)
    return CocoEvaluator(truth, number_images(paths), number_categories(names), names)


def dataset_ground_truth(dataset: DetectionDataset) -> list[LabelledImage]:
    """Give the boxes and the ignored regions of each image, in pixels of its file."""
    return [
        LabelledImage(
            path=label["im_file"],
            height=label["shape"][0],
            width=label["shape"][1],
            boxes=np.concatenate([label["boxes_xyxy"], label["ignored_xyxy"]]),
            classes=np.concatenate([label["cls"], label["ignored_cls"]]).reshape(-1).astype(int),
            ignored=np.repeat([False, True], [len(label["cls"]), len(label["ignored_cls"])]),
        )
        for label in dataset.labels
    ]
