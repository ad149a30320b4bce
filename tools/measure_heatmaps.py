"""Measure heat maps from good parts: AUROC of images and of pixels, and what the threshold does.

The images of a split without an object are good. Those of `train` make the bank, those of `val` are told from others of
`val`; the truth of a pixel is the boxes. A line of JSON for each checkpoint, with the detector's own scores beside.

Example:
    python -m tools.cut_tiles --data deeppcb/data.yaml --side 160 --out tiles
    python -m tools.measure_heatmaps --data tiles/data.yaml --weights best.pt --out measured
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from moat_det.anomaly.bank import FILE
from moat_det.data.config import load_dataset, reading, split_paths
from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.data.index import open_index
from moat_det.detection.anomalies import UNLIKE
from moat_det.detection.thresholds import CONF
from moat_det.engine import MOAT
from moat_det.errors import UserError
from moat_det.files import atomic_write_text
from tools.command import command, make_parser

LEAST_SCORE = 0.001  # of a detection: the scores of all parts are compared


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = make_parser((__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="dataset YAML whose splits have images without objects")
    parser.add_argument("--weights", required=True, nargs="+", help="checkpoints, each measured on the same images")
    parser.add_argument("--out", type=Path, required=True, help="folder for pictures and banks")
    parser.add_argument(
        "--parts", type=int, default=200, help="good parts of train, and good and bad ones of val, at most"
    )
    parser.add_argument("--imgsz", type=int, nargs="+", default=None, help="as the training's, where it is not given")
    parser.add_argument("--times", action="store_true", help="time detection with and without heat maps")
    parser.add_argument("--seed", type=int, default=0, help="of which images are taken")
    args = parser.parse_args(argv)
    data = load_dataset(args.data)
    chance = np.random.default_rng(args.seed)
    train, val = (_parts(data, split) for split in ("train", "val"))
    bank, good = (
        _some([each for each in split if not len(each.classes)], args.parts, chance) for split in (train, val)
    )
    # What is no more than a piece of an object is neither good nor bad.
    bad = _some([each for each in val if len(each.classes) and not each.ignored.all()], args.parts, chance)
    if not bank or not good or not bad:
        raise UserError(
            f"--data {args.data}: needs images without objects in train and val, and some with objects in val"
        )
    args.out.mkdir(parents=True, exist_ok=True)
    listed = {"good_parts": bank, "source": [*good, *bad]}
    for name, images in listed.items():
        atomic_write_text(args.out / f"{name}.txt", "\n".join(each.path for each in images))
    for number, weights in enumerate(args.weights):
        print(json.dumps({"weights": weights, **measure(args, f"model{number}", weights, good, bad, data["names"])}))
    return 0


def measure(
    args: Any,
    name: str,
    weights: str,
    good: Sequence[LabelledImage],
    bad: Sequence[LabelledImage],
    names: dict[int, str],
) -> dict[str, Any]:
    """Detect with heat maps; gives the figures."""
    images = {each.path: each for each in (*good, *bad)}
    settings: dict[str, Any] = {
        "project": args.out,
        "name": name,
        "exist_ok": True,
        "conf": LEAST_SCORE,
        "verbose": False,
    }
    settings |= {"imgsz": args.imgsz} if args.imgsz else {}
    heat: dict[str, float] = {}
    scores: dict[str, float] = {}
    pixels: list[np.ndarray] = []
    truth: list[np.ndarray] = []
    unlike, peaks = set(), []
    source, good_parts = args.out / "source.txt", args.out / "good_parts.txt"
    model = MOAT(weights)
    for result in model.predict(source, stream=True, heatmap=True, good_parts=str(good_parts), save=True, **settings):
        image, heatmap = images[result.path], result.heatmap
        heat[result.path] = heatmap.anomaly.score
        scores[result.path] = float(result.boxes.conf.max()) if len(result) else 0.0
        if heatmap.anomaly.looks == UNLIKE:
            unlike.add(result.path)
        if len(image.classes):
            mask = mask_of(image)
            truth.append(mask.ravel())
            pixels.append(heatmap.values.ravel())
            peaks.append(bool(mask[heatmap.anomaly.y, heatmap.anomaly.x]))
    seconds = {}
    if args.times:
        seconds["with"] = _seconds(weights, source, settings, heatmap=True, good_parts=str(args.out / name / FILE))
        seconds["without"] = _seconds(weights, source, settings)
    return {
        "good_parts": len(good_parts.read_text(encoding="utf-8").splitlines()),
        "good": len(good),
        "bad": len(bad),
        "image_auroc": _auroc(heat, good, bad),
        "pixel_auroc": round(float(roc_auc_score(np.concatenate(truth), np.concatenate(pixels))), 4),
        "peak_in_a_box": round(float(np.mean(peaks)), 3),
        "unlike_of_good": round(np.mean([each.path in unlike for each in good]).item(), 3),
        "unlike_of_bad": round(np.mean([each.path in unlike for each in bad]).item(), 3),
        "image_auroc_of_the_detector": _auroc(scores, good, bad),
        "by_class": {
            names[label]: {
                "heat map": _auroc(heat, good, some),
                "detector": _auroc(scores, good, some),
                "parts": len(some),
            }
            for label in names
            # Parts that show this class alone.
            if (some := [each for each in bad if set(each.classes[~each.ignored].tolist()) == {label}])
        },
        "milliseconds": {which: round(value * 1000, 1) for which, value in seconds.items()},
    }


def mask_of(image: LabelledImage) -> np.ndarray:
    """Give the pixels (H, W), bool, that lie in a box, pieces of objects too."""
    mask = np.zeros((image.height, image.width), bool)
    for x1, y1, x2, y2 in image.boxes:
        mask[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))] = True
    return mask


def _seconds(weights: str, source: Path, settings: dict[str, Any], **more: Any) -> float:
    """Give the seconds that an image takes, without those of reading, drawing and writing."""
    model, settings = MOAT(weights), {**settings, "conf": CONF}
    speeds = [result.speed for result in model.predict(source, stream=True, save=False, **settings, **more)]
    return float(np.median([speed["inference"] + speed["postprocess"] for speed in speeds])) / 1000


def _auroc(scores: dict[str, float], good: Sequence[LabelledImage], bad: Sequence[LabelledImage]) -> float:
    found = [scores[each.path] for each in (*good, *bad)]
    return round(float(roc_auc_score([0] * len(good) + [1] * len(bad), found)), 4)


def _parts(data: Any, split: str) -> list[LabelledImage]:
    return list(open_index(split_paths(data, split), data["names"], **reading(data)).images())


def _some(images: Sequence[LabelledImage], count: int, chance: np.random.Generator) -> list[LabelledImage]:
    return [images[index] for index in sorted(chance.permutation(len(images))[:count].tolist())]


if __name__ == "__main__":
    sys.exit(main())
