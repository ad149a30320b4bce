"""The test of a trained detector in tiles (SAHI): `python -m moat_det.benchmark.accuracy.sliced JOB`, a JSON file."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from moat_det.benchmark.sliced import SlicedDetector
from moat_det.data.config import DatasetConfig, load_dataset, reading, split_paths
from moat_det.data.images.read import naming_unreadable, read_input
from moat_det.data.index import open_index
from moat_det.engine import MOAT
from moat_det.errors import UserError
from moat_det.evaluation import LEAST_SCORE, CocoMetrics, metrics_table, write_results
from moat_det.evaluation.make_evaluator import make_evaluator
from moat_det.messages import one_line
from moat_det.progress import progress


def check_colour(data: DatasetConfig) -> None:
    """Raise `UserError` where the images of a dataset are of other than 3 bands, which tiles are measured on alone."""
    if data["channels"] != 3:
        raise UserError(
            f"--sliced: {data['yaml_file']} has {data['channels']} channels, and tiles are measured on images of 3: "
            "leave the option out"
        )


def measure_sliced(
    weights: str | Path, data: str | Path, tile: int, folder: Path, device: Any = None, split: str = "test"
) -> CocoMetrics:
    """Measure a checkpoint on a split, each image at its own size in tiles; write what `moat val` writes.

    Args:
        weights: The checkpoint.
        data: The dataset's YAML.
        tile: Side of the tiles in pixels.
        folder: Where `metrics.json`, `ground_truth.json` and `predictions.json` go.
        device: As in `moat val`.
        split: Of the dataset.

    Raises:
        UserError: The checkpoint or the data is not in order, or SAHI is missing, or images are of other than 3 bands.
    """
    dataset = load_dataset(data, split)
    check_colour(dataset)
    model = MOAT(weights)
    images = list(open_index(split_paths(dataset, split), dataset["names"], **reading(dataset)).images())
    paths, names = [Path(image.path) for image in images], model.model.names
    evaluator = make_evaluator(images, names)

    def detect(image: np.ndarray) -> list[list[float]]:
        (result,) = model.predict(image, imgsz=tile, conf=LEAST_SCORE, device=device, verbose=False)
        return result.boxes.data.tolist()

    # With as many weak detections SAHI takes these by itself, and says so at each image.
    detector = SlicedDetector(detect, names, tile, LEAST_SCORE, postprocess_type="NMS", postprocess_match_metric="IOU")
    seconds = 0.0
    for path in progress(paths, f"tiles of {tile} px", unit="image"):
        with naming_unreadable(path):
            image = read_input(path, model.trained.intensity)
        started = time.perf_counter()
        found = detector(image).object_prediction_list
        seconds += time.perf_counter() - started
        evaluator.update(
            path,
            np.array([each.bbox.to_xyxy() for each in found]).reshape(-1, 4),
            np.array([each.score.value for each in found]),
            np.array([each.category.id for each in found], dtype=int),
        )
    metrics = evaluator.compute()
    print(metrics_table(metrics))
    write_results(folder, evaluator, metrics, {"inference": 1e3 * seconds / len(paths)})
    return metrics


def main(job_file: str) -> None:
    """Measure what a job says; what goes wrong by the data or the disk ends in a line."""
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    try:
        measure_sliced(**{**job, "folder": Path(job["folder"])})
    except (UserError, OSError) as error:
        sys.exit(f"sliced: {one_line(error)}")


if __name__ == "__main__":
    main(sys.argv[1])
