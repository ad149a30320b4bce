"""What a validation measures on: the split, its batches, and the evaluator with its ground truth."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import torch
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.checks import check_imgsz

from moat_det.data.config import check_channels, load_dataset
from moat_det.data.dataset import DetectionDataset, build_dataset
from moat_det.data.images.intensity import Intensity
from moat_det.data.loader.loader import Loader, default_workers, make_loader
from moat_det.data.sizes.imgsz import multiple_of
from moat_det.data.sizes.native import NativeSize
from moat_det.engine.ground_truth import dataset_ground_truth
from moat_det.engine.inference_options import InferenceOptions
from moat_det.errors import UserError
from moat_det.evaluation import CocoEvaluator, coco_ground_truth, load_annotations, number_categories, number_images

logger = logging.getLogger(__name__)


def read_data(args: Any, model: DetectionModel, intensity: Intensity) -> dict[str, Any]:
    """Read the dataset's YAML, and check that the model is for it.

    Args:
        args: The engine's arguments: `data`, `split` and `single_cls`.
        model: To be measured.
        intensity: That of its training, by which images are read, whatever the YAML says now.

    Raises:
        UserError: The YAML is not in order, or its classes or channels are not the model's.
    """
    data = load_dataset(args.data, split=args.split)
    known, wanted = list(model.names.values()), list(data["names"].values())
    if known != wanted and not args.single_cls:
        raise UserError(
            f"the weights know the classes {known}, {args.data} has {wanted}: "
            "validate with the data's own weights, or bring 'names' into the weights' order"
        )
    check_channels(model.yaml["channels"], data)
    if data["intensity"].kind not in {"auto", intensity.kind}:
        logger.warning(
            f"{args.data}: 'intensity: {data['intensity']}' is not used, the weights were trained with {intensity}"
        )
    return {**data, "intensity": intensity}


def open_split(
    args: Any, data: dict[str, Any], options: InferenceOptions, stride: int, device: torch.device, workers: int | None
) -> Loader:
    """Make the batches of the split; at native size each is of images of one shape.

    Args:
        args: The engine's arguments.
        data: As `read_data` gives it.
        options: Our own.
        stride: The model's largest, in pixels.
        device: Where the batches go.
        workers: Processes that read images; as many as suit the device when None.

    Raises:
        UserError: The split holds no image, or a label that cannot be read.
    """
    args.imgsz = check_imgsz(args.imgsz, stride=stride, max_dim=1)
    dataset = build_dataset(
        args,
        data[args.split],
        args.batch,
        data,
        mode="val",
        rect=True,
        stride=stride,
        native=NativeSize(stride, options.max_pixels) if options.native else None,
        shape=options.shape and multiple_of(options.shape, stride),
    )
    workers = default_workers(device) if workers is None else workers
    if not options.native:
        return make_loader(dataset, args.batch, workers, device)
    scaled = sum(math.prod(label["shape"]) > (options.max_pixels or math.inf) for label in dataset.labels)
    if scaled:
        logger.warning(f"{scaled} of {len(dataset)} images are scaled down by --max-pixels")
    # A few workers, since each holds whole images.
    return make_loader(dataset, args.batch, min(workers, 2), device, batches=dataset.batches())


def largest_batch(dataset: DetectionDataset) -> tuple[tuple[int, int, int, int], str]:
    """Give the shape (B, C, H, W) of the batch of the most pixels, and its first image."""
    batch = max(dataset.batches(), key=lambda batch: len(batch) * math.prod(dataset.padded_shape(batch[0])))
    height, width = dataset.padded_shape(batch[0])
    return (len(batch), dataset.channels, height, width), dataset.im_files[batch[0]]


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
    paths = [image.path for image in images]
    if annotations is not None:
        return CocoEvaluator(*load_annotations(Path(annotations), paths, names), names)
    truth = coco_ground_truth(images, names)
    return CocoEvaluator(truth, number_images(paths), number_categories(names), names)
