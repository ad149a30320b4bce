"""Images per second of our loader beside the engine's own, on the same images, with the same augmentations, in turns.

The engine reads links to the images and copies of the labels in a temporary folder, as it writes a cache beside them.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from moat_det.demo import dataset_source

import moat_det.offline  # noqa: F401  # isort: skip  # before the engine's import
from ultralytics.cfg import get_cfg
from ultralytics.data.augment import Albumentations
from ultralytics.data.build import build_dataloader, build_yolo_dataset

from moat_det.data.config import DatasetConfig, load_dataset, reading
from moat_det.data.formats.yolo_files import find_label
from moat_det.data.index import open_index
from moat_det.data.loader.dataset import DatasetOptions, DetectionDataset
from moat_det.data.loader.loader import make_loader
from moat_det.data.sizes.policy import size_policy
from moat_det.errors import UserError
from tools.command import command, make_parser

CPU = torch.device("cpu")


def link_images(data: DatasetConfig, folder: Path) -> Path:
    """Link the training images into a folder of the engine's layout, and copy their labels, under numbers for names.

    Raises:
        UserError: None of them has a YOLO label file.
    """
    images, labels = folder / "images" / "train", folder / "labels" / "train"
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    for number, image in enumerate(open_index(data["train"], data["names"], **reading(data)).paths):
        (images / f"{number:06}{Path(image).suffix}").symlink_to(image)
        label = find_label(image)
        if label is not None:
            shutil.copy(label, labels / f"{number:06}.txt")
    if not any(labels.iterdir()):
        raise UserError(f"{data['yaml_file']}: no training image has a YOLO label file, as the engine needs them")
    return images


def measure(loader: Iterable[dict[str, Any]], batches: int) -> float:
    """Images per second, of `batches` batches after the first."""
    given = iter(loader)
    next(given)
    start, images = time.perf_counter(), 0
    for _ in range(batches):
        images += len(next(given)["img"])
    return images / (time.perf_counter() - start)


def compare(words: argparse.Namespace) -> dict[str, list[float]]:
    """Measure both loaders in turns; gives the images per second of each turn, of "ours" and of "engine".

    Raises:
        UserError: The dataset is not in order, or has too few images.
    """
    data = load_dataset(dataset_source(words.data))
    args = get_cfg(overrides={"imgsz": words.imgsz, "batch": words.batch, "mosaic": words.mosaic, "cache": words.cache})
    with tempfile.TemporaryDirectory() as folder:
        linked = str(link_images(data, Path(folder)))
        sizes = size_policy(args.imgsz, stride=32)
        ours = DetectionDataset(data, "train", sizes, DatasetOptions.of(args, words.batch), args)
        if len(ours) < 2 * words.batch:
            raise UserError(f"--batch {words.batch}: two batches are needed, there are {len(ours)} images; give less")
        engines = build_yolo_dataset(args, linked, words.batch, data, mode="train")
        steps = engines.transforms
        steps.transforms = [step for step in steps.transforms if not isinstance(step, Albumentations)]
        ways: dict[str, Callable[[], Any]] = {
            "ours": lambda: make_loader(ours, words.workers, CPU, shuffle=True),
            "engine": lambda: build_dataloader(engines, words.batch, words.workers, device="cpu"),
        }
        speeds: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(words.turns):
            for name in ways if turn % 2 else reversed(ways):
                loader = ways[name]()
                speeds[name].append(measure(loader, min(words.batches, len(loader) - 1)))
                loader.close()
    return speeds


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print medians and their ratio; returns the exit code."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--data", required=True, help="dataset YAML or folder, with YOLO labels")
    parser.add_argument("--imgsz", type=int, default=640, help="side of a training image, in pixels")
    parser.add_argument("--batch", type=int, default=16, help="images in a batch")
    parser.add_argument("--workers", type=int, default=1, help="processes that read images")
    parser.add_argument("--batches", type=int, default=20, help="in each turn")
    parser.add_argument("--turns", type=int, default=5, help="of either loader")
    parser.add_argument("--mosaic", type=float, default=1.0, help="its probability")
    parser.add_argument("--cache", choices=["ram", "disk"], help="of both")
    words = parser.parse_args(argv)
    for name in ("imgsz", "batch", "batches", "turns"):
        if getattr(words, name) < 1:
            raise UserError(f"--{name} {getattr(words, name)}: must be 1 or more")
    speeds = compare(words)
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    for name, values in speeds.items():
        print(f"{name:7}{medians[name]:8.1f} images/s   {' '.join(f'{value:.1f}' for value in values)}")
    print(f"ours / engine: {medians['ours'] / medians['engine']:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
