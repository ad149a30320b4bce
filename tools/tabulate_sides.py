"""Tabulate AP by the narrow side that boxes have in the model, one line for each validation."""

from __future__ import annotations

import argparse
import io
import math
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import Any

from moat_det.benchmark.tables import markdown
from moat_det.evaluation.matching import BoxEval, coco_of
from moat_det.evaluation.validation_folder import read_validation
from tools.command import command, make_parser


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = make_parser((__doc__ or "").splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", help="folders of moat val, or of trainings")
    parser.add_argument("--imgsz", type=int, required=True, help="pixels of an image's longer side in the model")
    parser.add_argument("--sides", type=float, nargs="+", default=[8, 16, 32], help="limits between groups, pixels")
    args = parser.parse_args(argv)
    print(tabulate(args))
    return 0


def tabulate(args: argparse.Namespace) -> str:
    """Give the table as Markdown: AP of all boxes, and of those of each group."""
    limits = [0.0, *sorted(args.sides), math.inf]
    names = [f"{low:g} to {high:g} px" for low, high in pairwise(limits)]
    lines = []
    for folder in args.folders:
        found = ap_by_side(folder, args.imgsz, limits)
        lines.append([folder.name, *("-" if ap is None else f"{ap:.3f} ({boxes})" for ap, boxes in found)])
    return markdown(["AP (boxes)", "all", *names], lines)


def ap_by_side(folder: Path, imgsz: int, limits: Sequence[float]) -> list[tuple[float | None, int]]:
    """Measure AP of all boxes, and of those whose narrow side lies between two limits.

    Args:
        folder: Of a validation.
        imgsz: Pixels that the longer side of each image has in the model.
        limits: In pixels there, ascending.

    Returns:
        AP in [0, 1], or None without boxes, and how many boxes there are; of all first.
    """
    _, truth, predictions = read_validation(folder)
    scales = {image["id"]: imgsz / max(image["width"], image["height"]) for image in truth["images"]}
    # pycocotools takes groups by area, so that of the square over the narrow side stands for it.
    _take_sides(truth["annotations"], scales)
    with redirect_stdout(io.StringIO()):
        objects = coco_of(truth)
        detections = objects.loadRes(predictions) if predictions else coco_of({**truth, "annotations": []})
        _take_sides(detections.dataset["annotations"], scales)
        evaluation = BoxEval(objects, detections)
        groups = [(0.0, math.inf), *pairwise(limits)]
        evaluation.params.areaRng = [[low**2, math.nextafter(high**2, 0)] for low, high in groups]
        evaluation.params.areaRngLbl = [str(number) for number in range(len(groups))]
        evaluation.evaluate()
        evaluation.accumulate()
    measured = []
    for number, (low, high) in enumerate(groups):
        precision = evaluation.eval["precision"][:, :, :, number, -1]
        known = precision[precision > -1]
        boxes = sum(low**2 <= each["area"] < high**2 and not each["iscrowd"] for each in truth["annotations"])
        measured.append((float(known.mean()) if known.size else None, boxes))
    return measured


def _take_sides(annotations: Sequence[dict[str, Any]], scales: dict[int, float]) -> None:
    for each in annotations:
        each["area"] = (min(each["bbox"][2:]) * scales[each["image_id"]]) ** 2


if __name__ == "__main__":
    sys.exit(main())
