"""Images per second of our loader beside the engine's own, on the same images, with the same augmentations, in turns.

The engine reads links to the images and copies of the labels in a temporary folder, as it writes a cache beside them.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from ultralytics.cfg import get_cfg
from ultralytics.data.augment import Albumentations
from ultralytics.data.build import build_dataloader, build_yolo_dataset

import moat_det.offline  # noqa: F401  # before the engine's import
from moat_det.data.config import load_dataset
from moat_det.data.dataset import build_dataset
from moat_det.data.index import open_index
from moat_det.data.index.yolo import label_places
from moat_det.data.loader.loader import make_loader

CPU = torch.device("cpu")


def link_images(data: dict[str, Any], folder: Path) -> Path:
    """Link the training images into a folder of the engine's layout, and copy their labels."""
    for image in open_index(data["train"], data["names"], data.get("image_roots")).paths:
        label = next((place for place in map(Path, label_places(image)) if place.is_file()), None)
        for kind, source in (("images", Path(image)), ("labels", label)):
            (folder / kind / "train").mkdir(parents=True, exist_ok=True)
            if source is not None and kind == "images":
                (folder / kind / "train" / source.name).symlink_to(source)
            elif source is not None:
                shutil.copy(source, folder / kind / "train" / f"{Path(image).stem}.txt")
    return folder / "images" / "train"


def measure(loader: Iterable[dict[str, Any]], batches: int) -> float:
    """Images per second, of `batches` batches after the first."""
    given = iter(loader)
    next(given)
    start, images = time.perf_counter(), 0
    for _ in range(batches):
        images += len(next(given)["img"])
    return images / (time.perf_counter() - start)


def main() -> None:
    """Measure, and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="dataset YAML or folder, with YOLO labels")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--batches", type=int, default=20, help="in each turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--mosaic", type=float, default=1.0, help="probability")
    parser.add_argument("--cache", choices=["ram", "disk"], help="of both")
    words = parser.parse_args()
    data = load_dataset(words.data)
    args = get_cfg(overrides={"imgsz": words.imgsz, "batch": words.batch, "mosaic": words.mosaic, "cache": words.cache})
    with tempfile.TemporaryDirectory() as folder:
        linked = str(link_images(data, Path(folder)))
        ours = build_dataset(args, data["train"], words.batch, data)
        engines = build_yolo_dataset(args, linked, words.batch, data, mode="train")
        steps = engines.transforms
        steps.transforms = [step for step in steps.transforms if not isinstance(step, Albumentations)]
        ways: dict[str, Callable[[], Any]] = {
            "ours": lambda: make_loader(ours, words.batch, words.workers, CPU, shuffle=True),
            "engine": lambda: build_dataloader(engines, words.batch, words.workers, device="cpu"),
        }
        speeds: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(words.turns):
            for name in ways if turn % 2 else reversed(ways):
                loader = ways[name]()
                speeds[name].append(measure(loader, min(words.batches, len(loader) - 1)))
                loader.close()
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    for name, values in speeds.items():
        print(f"{name:7}{medians[name]:8.1f} images/s   {' '.join(f'{value:.1f}' for value in values)}")
    print(f"ours / engine: {medians['ours'] / medians['engine']:.2f}")


if __name__ == "__main__":
    main()
