"""Compare what validation finds in a split with what detection finds, at several batch sizes.

For each batch: the rows of both, the AP of each by pycocotools against validation's ground truth, how many rows have no
partner (of the same image and class, at an IoU of 0.999 or more), and how far the scores of partners are apart.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from pycocotools.mask import iou as overlaps
from scipy.optimize import linear_sum_assignment

from moat_det.data.config import load_dataset, reading, split_paths
from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.data.images.read import read_image
from moat_det.data.index import open_index
from moat_det.demo import dataset_source
from moat_det.engine import MOAT
from moat_det.evaluation.ground_truth import written_boxes
from tools.command import command, make_parser

_SAME = 0.999
_APART = 1e3  # a difference of scores that none has

Rows = list[dict[str, Any]]


def average_precision(truth: dict[str, Any], rows: Rows) -> float:
    """Give AP as pycocotools computes it."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(rows), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def pair(one: Rows, other: Rows) -> tuple[int, float]:
    """Pair the rows of two files.

    Returns:
        How many have no partner, and the largest difference between the scores of partners.
    """
    groups: dict[tuple[int, int], tuple[Rows, Rows]] = defaultdict(lambda: ([], []))
    for side, rows in enumerate((one, other)):
        for row in rows:
            groups[row["image_id"], row["category_id"]][side].append(row)
    alone, apart = 0, 0.0
    for a, b in groups.values():
        if not a or not b:
            alone += len(a) + len(b)
            continue
        boxes = [np.array([row["bbox"] for row in rows], dtype=float) for rows in (a, b)]
        same = overlaps(*boxes, [0] * len(b)) >= _SAME
        scores = [np.array([row["score"] for row in rows]) for rows in (a, b)]
        difference = np.abs(scores[0][:, None] - scores[1])
        left, right = linear_sum_assignment(np.where(same, difference, _APART))
        paired = same[left, right]
        alone += len(a) + len(b) - 2 * int(paired.sum())
        apart = max(apart, float(difference[left, right][paired].max(initial=0.0)))
    return alone, apart


def write_in_shapes(images: Sequence[LabelledImage], names: dict[int, str], shapes: Sequence[str], out: Path) -> Path:
    """Write images in turn at each of some shapes, HxW, with labels that follow; give the data.yaml."""
    for number, image in enumerate(images):
        height, width = (int(side) for side in shapes[number % len(shapes)].split("x"))
        name = f"{number:04}"
        for folder in ("images", "labels"):
            (out / folder / "val").mkdir(parents=True, exist_ok=True)
        resized = cv2.resize(read_image(image.path), (width, height), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(out / "images" / "val" / f"{name}.png"), resized)
        rows = (
            " ".join(map(str, [int(label), *share])) for label, share in zip(image.classes, image.shares, strict=True)
        )
        (out / "labels" / "val" / f"{name}.txt").write_text("\n".join(rows))
    data = out / "data.yaml"
    data.write_text(yaml.safe_dump({"train": "images/val", "val": "images/val", "names": names}))
    return data


def compare(weights: str, data: Path, imgsz: int | list[int], batch: int, mixed: bool, folder: Path) -> str:
    """Validate and detect, and give the row of the table."""
    common = {"imgsz": imgsz, "batch": batch, "amp": mixed, "conf": 0.001, "max_det": 300, "project": str(folder)}
    MOAT(weights).val(data=str(data), name=f"val{batch}", plots=False, workers=0, **common)
    source = load_dataset(data)["val"]
    truth = json.loads((folder / f"val{batch}" / "ground_truth.json").read_text())
    ids = {Path(image["file_name"]).name: image["id"] for image in truth["images"]}
    found: Rows = []
    for result in MOAT(weights).predict(source, stream=True, verbose=False, **common):
        for box in result.boxes.cpu().numpy():
            place = {"image_id": ids[Path(result.path).name], "category_id": int(box.cls[0]) + 1}
            found.append({**place, "bbox": written_boxes(box.xyxy)[0].tolist(), "score": float(box.conf[0])})
    measured = json.loads((folder / f"val{batch}" / "predictions.json").read_text())
    alone, apart = pair(measured, found)
    by_val, by_detect = (average_precision(truth, rows) for rows in (measured, found))
    return f"| {batch} | {by_val:.6f} | {by_detect:.6f} | {len(measured)} | {len(found)} | {alone} | {apart:.1e} |"


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--weights", required=True, help="a best.pt")
    parser.add_argument("--data", required=True, help="dataset YAML, whose val split is looked at")
    parser.add_argument("--imgsz", type=int, nargs="+", default=[640], help="the longer side, or height and width")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4, 16], help="batch sizes")
    parser.add_argument("--shapes", nargs="*", default=[], metavar="HxW", help="resize the images to these in turn")
    parser.add_argument("--images", type=int, help="of the split, the first (all)")
    parser.add_argument("--mixed", action="store_true", help="in the CPU's short number format, where it has one")
    options = parser.parse_args(argv)
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(dataset_source(options.data))
        if options.shapes or options.images:
            source: Any = load_dataset(dataset_source(options.data))
            index = open_index(split_paths(source, "val"), source["names"], **reading(source))
            images = list(index.images())[: options.images]
            shapes = options.shapes or [f"{image.height}x{image.width}" for image in images]
            data = write_in_shapes(images, source["names"], shapes, Path(temporary) / "set")
        imgsz = options.imgsz[0] if len(options.imgsz) == 1 else options.imgsz
        print("| batch | AP, val | AP, detect | rows, val | rows, detect | without a partner | scores apart |")
        print("|---|---|---|---|---|---|---|")
        for batch in options.batch:
            print(compare(options.weights, data, imgsz, batch, options.mixed, Path(temporary)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
