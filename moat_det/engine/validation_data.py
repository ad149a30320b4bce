"""What a validation measures on: the split, its batches, and the evaluator with its ground truth."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from ultralytics.utils.checks import check_imgsz

from moat_det.data.config import DatasetConfig
from moat_det.data.images.intensity import Intensity
from moat_det.data.loader.dataset import DatasetOptions, DetectionDataset
from moat_det.data.loader.loader import Loader, default_workers, make_loader
from moat_det.data.of_model import load_for_model
from moat_det.demo import dataset_source
from moat_det.detector.base import BaseDetector
from moat_det.engine.distributed.group import ALONE, Group
from moat_det.engine.inference_options import InferenceOptions

logger = logging.getLogger(__name__)


def read_data(args: Any, model: BaseDetector, intensity: Intensity) -> DatasetConfig:
    """Read the dataset's YAML, and check that the model is for it.

    Args:
        args: The engine's arguments: `data`, `split` and `single_cls`.
        model: To be measured.
        intensity: That of its training, by which images are read, whatever the YAML says now.

    Raises:
        UserError: The YAML is not in order, or its classes or channels are not the model's.
    """
    return load_for_model(
        dataset_source(args.data),
        args.split,
        names=None if args.single_cls else list(model.names.values()),
        channels=model.yaml["channels"],
        intensity=intensity,
        given=args.data,
    )


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
    sizes = options.sizes(args.imgsz, stride, bool(args.rect))
    dataset = DetectionDataset(data, args.split, sizes, DatasetOptions.of(args, args.batch))
    workers = default_workers(device, group.local_size) if workers is None else workers
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
