r"""List the good images on which a model fires, so that the next training learns that they are good.

    python tools/mine_negatives.py --weights best.pt --source good/ --out negatives.txt --data defects.yaml \
        --write-yaml defects-2.yaml

writes the list, with the detections beside it in negatives.json and pictures of them in negatives.jpg, and a dataset
YAML whose `train` has the list added. Further rounds add to a list. Every option of detect.py is taken.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from tqdm import tqdm

from moat_det.data.config import SPLITS, DatasetConfig, load_dataset, split_paths
from moat_det.data.formats.yolo import label_places
from moat_det.data.images.find import find_images
from moat_det.data.index import open_index
from moat_det.data.strict_yaml import read_yaml
from moat_det.demo import dataset_source
from moat_det.engine.arguments import parse_arguments
from moat_det.engine.model import MOAT
from moat_det.errors import UserError
from moat_det.files import atomic_write_bytes, atomic_write_json, atomic_write_text, check_writable
from moat_det.report.pictures import draw_boxes, sheet

_MAKER = "moat_det tools/mine_negatives.py"
_SHOWN, _COLUMNS, _SIDE = 24, 6, 320  # pictures on the sheet, in a row, and the side of one in pixels


class NegativeList:
    """A list of images and its companions of the same name: `.json` with the detections, `.jpg` with pictures.

    Attributes:
        images: Path of an image to its entry: the highest `score`, the `weights`, and the `detections`.

    Raises:
        UserError: One of the files is there and not ours, or was changed by hand.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix != ".txt":
            raise UserError(f"--out {path}: must end in .txt, as lists of images do")
        self.path, self.json, self.picture = path, path.with_suffix(".json"), path.with_suffix(".jpg")
        self.images: dict[str, dict[str, Any]] = {}
        there = [file for file in (self.path, self.json, self.picture) if file.exists()]
        if there:
            self.images = self._read(there[0])

    def _read(self, first: Path) -> dict[str, dict[str, Any]]:
        foreign = UserError(f"{first} is there and not a list of this tool as it wrote it: choose another --out")
        try:
            content = json.loads(self.json.read_text(encoding="utf-8"))
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            raise foreign from None
        if (
            not isinstance(content, dict)
            or content.get("made_by") != _MAKER
            or lines != list(content.get("images", ()))
        ):
            raise foreign
        return content["images"]

    def write(self, pictures: list[np.ndarray]) -> None:
        """Write the three files, each atomically; the list comes last, and is whole whenever it is there."""
        drawn = sheet(pictures, min(_COLUMNS, len(pictures)), (_SIDE, _SIDE))
        encoded = cv2.imencode(".jpg", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))[1]
        atomic_write_bytes(self.picture, encoded.tobytes())
        atomic_write_json(self.json, {"made_by": _MAKER, "images": self.images}, indent=1)
        atomic_write_text(self.path, "".join(f"{image}\n" for image in self.images))


def known_images(data: DatasetConfig) -> dict[str, str]:
    """Give the images of a dataset's splits, links resolved, and why each is none to mine."""
    known: dict[str, str] = {}
    for split in SPLITS:
        places = split_paths(data, split)
        if not places or not all(map(os.path.exists, places)):  # a test split need not be there
            continue
        index = open_index(places, data["names"], data.get("image_roots"))
        for path, boxes in zip(index.paths, np.diff(index.starts).tolist(), strict=True):
            known[os.path.realpath(path)] = f"they {'carry boxes' if boxes else 'are already'} in {split}"
    return known


def good_images(source: str, known: dict[str, str]) -> tuple[list[str], dict[str, int]]:
    """Find the images that are good parts and that no split knows yet.

    Args:
        source: A folder, a list of images, or an image.
        known: As `known_images` gives it.

    Returns:
        Absolute paths, and how many were left out for which reason.

    Raises:
        UserError: `source` is not there or holds no image.
    """
    if not os.path.exists(source):
        raise UserError(f"--source {source}: no such folder, list of images or image")
    images, left_out = [], dict[str, int]()
    for path in map(str, find_images(source)):
        reason = known.get(os.path.realpath(path), "")
        label = next((place for place in label_places(path) if os.path.isfile(place)), None)
        if not reason and label is not None and Path(label).read_bytes().strip():
            reason = "they have labels of their own"
        if reason:
            left_out[reason] = left_out.get(reason, 0) + 1
        else:
            images.append(path)
    return images, left_out


def mine(weights: str, images: Sequence[str], options: dict[str, Any]) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Detect in good images.

    Args:
        weights: The checkpoint.
        images: Absolute paths.
        options: Arguments of `MOAT.predict`.

    Returns:
        The entry of each image on which the model fires, by path, the highest score first; and pictures of the first.
    """
    found: dict[str, Any] = {}
    best: list[tuple[float, int, np.ndarray]] = []
    with tempfile.TemporaryDirectory() as folder:
        listing = Path(folder, "images.txt")
        listing.write_text("".join(f"{image}\n" for image in images), encoding="utf-8")
        results = MOAT(weights).predict(str(listing), stream=True, verbose=False, **options)
        for number, result in enumerate(tqdm(results, total=len(images), desc="detecting", unit="image")):
            if not len(result):
                continue
            boxes = result.boxes.cpu().numpy()
            names = [result.names[int(cls)] for cls in boxes.cls]
            detections = [
                {"class": name, "score": round(float(score), 4), "box": [round(float(side), 1) for side in box]}
                for name, score, box in zip(names, boxes.conf, boxes.xyxy, strict=True)
            ]
            score = max(detection["score"] for detection in detections)
            found[str(result.path)] = {"score": score, "weights": str(weights), "detections": detections}
            picture = _picture(result.orig_img, detections, boxes.cls.astype(int).tolist())
            heapq.heappush(best, (score, -number, picture))
            if len(best) > _SHOWN:
                heapq.heappop(best)
    found = dict(sorted(found.items(), key=lambda item: -item[1]["score"]))
    return found, [picture for _, _, picture in sorted(best, key=lambda item: item[:2], reverse=True)]


def extended_yaml(data: DatasetConfig, listing: Path, out: Path) -> str:
    """Give the text of a dataset YAML that has a list added to `train`.

    Raises:
        UserError: There is another file at `out`, where it is to be written.
    """
    content = read_yaml(Path(data["yaml_file"]))
    train = content["train"] if isinstance(content["train"], list) else [content["train"]]
    if str(listing) not in train:
        train = [*train, str(listing)]
    text = yaml.safe_dump({**content, "path": data["path"], "train": train}, sort_keys=False, allow_unicode=True)
    if out.exists() and out.read_text(encoding="utf-8") != text:
        raise UserError(f"--write-yaml {out}: it is there and says something else; choose another name")
    return text


def _picture(image: np.ndarray, detections: Sequence[dict[str, Any]], classes: Sequence[int]) -> np.ndarray:
    """Draw detections on a small copy of an image (H, W, 3), BGR; gives RGB."""
    scale = _SIDE / max(image.shape[:2])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=method)
    boxes = np.array([detection["box"] for detection in detections]) * scale
    texts = [f"{detection['class']} {detection['score']:.2f}" for detection in detections]
    return draw_boxes(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), boxes, texts, classes)


def _check_writable(file: Path) -> None:
    """Raise `UserError` where nothing can be written beside `file`, before hours of detection."""
    try:
        check_writable(file.parent)
    except OSError as error:
        raise UserError(f"{file}: cannot be written: {error.strerror or error}; choose another place") from error


def run(ours: argparse.Namespace, words: Sequence[str]) -> None:
    """Do what the command line says.

    Args:
        ours: The options of this tool.
        words: Those of detect.py.
    """
    arguments = parse_arguments("detect", words)
    options = {"conf": 0.25, **arguments.engine, **arguments.own}
    weights, source = options.pop("weights"), options.pop("source")
    options.pop("save_csv", None)
    if ours.write_yaml is not None and ours.data is None:
        raise UserError("--write-yaml needs --data, the dataset YAML that the list is added to")
    listing = NegativeList(Path(os.path.abspath(ours.out)))
    data = load_dataset(dataset_source(ours.data)) if ours.data is not None else None
    extended = extended_yaml(data, listing.path, ours.write_yaml) if data is not None and ours.write_yaml else None
    for file in (listing.path, *([ours.write_yaml] if extended is not None else [])):
        _check_writable(file)
    images, left_out = good_images(source, known_images(data) if data is not None else {})
    for reason, count in left_out.items():
        print(f"{count} images of {source} are left out: {reason}")
    if not images:
        raise UserError(f"--source {source}: no good image is left in it")
    found, pictures = mine(weights, images, options)
    new = {path: entry for path, entry in found.items() if path not in listing.images}
    print(f"the model fires on {len(found)} of {len(images)} good images, {len(new)} of them new to the list")
    if not found and not listing.images:
        print(f"nothing to learn from them: {listing.path} is not written")
        return
    if found:
        listing.images |= found
        listing.write(pictures)
    if extended is not None:
        atomic_write_text(ours.write_yaml, extended)
        print(f"train with the {len(listing.images)} images of {listing.path}: --data {ours.write_yaml}")
        return
    train = data["train"] if data is not None else "images/train"
    entries = ", ".join([*(train if isinstance(train, list) else [train]), str(listing.path)])
    print(f"train with its {len(listing.images)} images: write 'train: [{entries}]' in your dataset YAML")


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", required=True, help="the list to write or to add to, .txt")
    parser.add_argument("--data", help="dataset YAML: images that one of its splits has are left out")
    parser.add_argument("--write-yaml", type=Path, help="write a dataset YAML like --data with the list in train")
    ours, words = parser.parse_known_args(argv)
    try:
        run(ours, words)
    except UserError as error:
        print(f"mine_negatives: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # a full disk, in most cases; what was written is whole
        print(f"mine_negatives: {error.filename or ours.out}: {error.strerror or error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
