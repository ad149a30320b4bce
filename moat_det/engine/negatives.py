"""Good images on which a model fires, listed so that the next training learns that they are good."""

from __future__ import annotations

import heapq
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from moat_det.data.config import SPLITS, DatasetConfig, reading, split_paths
from moat_det.data.formats.faults import AnnotationError
from moat_det.data.formats.yolo import read_lines
from moat_det.data.formats.yolo_files import find_labels
from moat_det.data.images.find import is_there
from moat_det.data.index import open_index
from moat_det.detection.source_files import list_pictures
from moat_det.engine.model import MOAT
from moat_det.errors import UserError
from moat_det.files import atomic_write_bytes, atomic_write_json, atomic_write_text
from moat_det.progress import progress
from moat_det.report.pictures import draw_boxes, sheet
from moat_det.strict_yaml import read_yaml
from moat_det.text import read_text

_MAKER = "moat_det mine-negatives"
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
            lines = read_text(self.path).split("\n")[:-1]
        except (OSError, ValueError):
            raise foreign from None
        if (
            not isinstance(content, dict)
            or not str(content.get("made_by")).startswith("moat_det ")
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
        if not places or not all(map(is_there, places)):  # a test split need not be there
            continue
        index = open_index(places, data["names"], **reading(data))
        for path, boxes in zip(index.paths, np.diff(index.starts).tolist(), strict=True):
            known[os.path.realpath(path)] = f"they {'carry boxes' if boxes else 'are already'} in {split}"
    return known


def good_images(source: str, known: dict[str, str]) -> tuple[list[str], dict[str, int]]:
    """Find the images that are good parts and that no split knows yet.

    Args:
        source: A folder, a pattern, a list of images, or an image.
        known: As `known_images` gives it.

    Returns:
        Absolute paths, and how many were left out for which reason.

    Raises:
        UserError: `source` is not there or holds no image.
    """
    images, left_out = [], dict[str, int]()
    labels = find_labels(list_pictures(source))
    for path in labels:
        reason = known.get(os.path.realpath(path), "")
        label = labels[path]
        if not reason and not _can_be_listed(path):
            reason = "a list has no room for their names, which are no UTF-8 or have a line's end; name them anew"
        if not reason and label is not None and _has_rows(label):
            reason = "they have labels of their own"
        if reason:
            left_out[reason] = left_out.get(reason, 0) + 1
        else:
            images.append(path)
    return images, left_out


def _can_be_listed(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return path.splitlines() == [path]


def _has_rows(label: str) -> bool:
    """Whether a label file says anything; what cannot be read may."""
    try:
        return any(map(str.strip, read_lines(label)))
    except AnnotationError:
        return True


def mine(model: MOAT, images: Sequence[str], options: dict[str, Any]) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Detect in good images.

    Args:
        model: As it was loaded from a checkpoint.
        images: Absolute paths.
        options: Arguments of `MOAT.predict`.

    Returns:
        The entry of each image on which the model fires, by path, the highest score first; and pictures of the first.
    """
    found: dict[str, Any] = {}
    best: list[tuple[float, int, np.ndarray]] = []
    results = model.predict(list(images), stream=True, **{**options, "verbose": False})
    for number, result in enumerate(progress(results, total=len(images), text="detecting", unit="image")):
        if not len(result):
            continue
        boxes = result.boxes.cpu().numpy()
        names = [result.names[int(cls)] for cls in boxes.cls]
        detections = [
            {"class": name, "score": round(float(score), 4), "box": [round(float(side), 1) for side in box]}
            for name, score, box in zip(names, boxes.conf, boxes.xyxy, strict=True)
        ]
        score = max(detection["score"] for detection in detections)
        found[str(result.path)] = {"score": score, "weights": str(model.ckpt_path), "detections": detections}
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
    if out.exists() and out.read_bytes() != text.encode():
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
