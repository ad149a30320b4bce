"""Datasets as files of another format: images copied, annotations written anew, splits made by group."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from tqdm import tqdm

from moat_det.data.config import SPLITS, load_dataset
from moat_det.data.formats.coco import coco_names
from moat_det.data.formats.sources import find_sources
from moat_det.data.formats.voc import voc_names
from moat_det.data.groups import choose_train
from moat_det.data.images.suffixes import ARRAY_SUFFIX
from moat_det.data.index import SplitIndex, open_index
from moat_det.errors import UserError
from moat_det.files import atomic_folder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Item:
    """One image with its boxes.

    Attributes:
        path: The image file.
        height: In pixels, after the EXIF rotation.
        width: In pixels, after the EXIF rotation.
        classes: (N,) int64.
        boxes: (N, 4) float64, xyxy in pixels.
        shares: (N, 4) float64, xywh as shares of the sides.
        ignored: (N,) bool, regions that are no objects.
    """

    path: str
    height: int
    width: int
    classes: np.ndarray
    boxes: np.ndarray
    shares: np.ndarray
    ignored: np.ndarray


def convert(
    source: str | Path,
    source_format: str,
    target_format: str,
    out: str | Path,
    names: Sequence[str] | None = None,
    images: str | Path | None = None,
    train_share: float | None = None,
    group: str | None = None,
    seed: int = 0,
) -> Path:
    """Write a dataset in another format.

    Images are copied, so that nothing done to the new set reaches the old one. The set is written beside `out` and
    renamed when whole.

    Args:
        source: A dataset YAML, whose splits stay; or what makes one split: a COCO JSON, a folder of VOC XML, or a
            folder or a list of images with YOLO labels.
        source_format: "yolo", "coco" or "voc", in which all of `source` must be.
        target_format: "yolo" or "coco".
        out: The folder to make.
        names: The classes in their order, where `source` is no dataset YAML. None takes those of the JSON, or those
            that occur in the XML files, sorted; YOLO needs them.
        images: The folder with the images, where `source` is a JSON or a folder of XML; None looks for it.
        train_share: Share of the images that becomes `train`, between 0 and 1; the rest becomes `val`, and `source`'s
            own splits go. None keeps those; without any, all is `train`.
        group: A regular expression that is searched in the image's file name: images for which its first group, or
            else the whole match, is the same stay in one split.
        seed: Of the order in which groups are taken.

    Returns:
        The new `data.yaml`.

    Raises:
        UserError: The source is not in order or not of its format, an argument is out of range, or `out` holds
            something, lies within the source, or cannot be written.
    """
    out = Path(os.path.abspath(os.path.expanduser(out)))
    check_free(out)
    class_names, splits = _read_source(source, source_format, names, images)
    if train_share is not None:
        splits = _split_anew(splits, train_share, group, seed)
    write_dataset(out, target_format, class_names, splits)
    if "val" not in splits:
        logger.warning(f"{out / 'data.yaml'}: has no 'val', which training needs; split the set, or add one")
    return out / "data.yaml"


def check_free(out: Path) -> None:
    """Raise `UserError` where a folder that is to be made exists and is not empty."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: exists and is not empty; name a new folder")


def write_dataset(
    out: Path,
    target_format: str,
    names: Mapping[int, str],
    splits: Mapping[str, Sequence[Item]],
    keys: Mapping[str, Any] | None = None,
    texts: Mapping[str, str] | None = None,
) -> None:
    """Write images, annotations and `data.yaml`, beside `out` first; it is renamed when whole.

    Args:
        out: The folder to make, absolute.
        target_format: "yolo" or "coco".
        names: Class id to name.
        splits: The images of each split, which are copied.
        keys: Further keys of the YAML.
        texts: Further text files by name.

    Raises:
        UserError: `out` holds something, lies within the images, or cannot be written.
    """
    check_free(out)
    _check_target(out, splits)
    try:
        with atomic_folder(out) as folder:
            content = {**_write(folder, target_format, names, splits), **(keys or {})}
            (folder / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), "utf-8")
            for name, text in (texts or {}).items():
                (folder / name).write_text(text, "utf-8")
    except OSError as error:
        place = error.filename or out
        raise UserError(f"{out}: cannot be written ({place}: {error.strerror}); free some space or mend it") from error


def _read_source(
    source: str | Path, source_format: str, names: Sequence[str] | None, images: str | Path | None
) -> tuple[dict[int, str], dict[str, list[Item]]]:
    """Give the names of the classes, and the images of each split."""
    place = os.path.abspath(os.path.expanduser(source))
    if place.lower().endswith((".yaml", ".yml")):
        if names or images:
            raise UserError(f"{source}: gives names and images itself; leave the arguments out")
        data = load_dataset(place)
        class_names: dict[int, str] = data["names"]
        paths = {split: data[split] for split in SPLITS if split in data}
        roots = data.get("image_roots", {})
    else:
        if not os.path.exists(place):
            raise UserError(f"{source}: does not exist; give a dataset YAML, a COCO JSON, or a folder")
        paths = {"train": place}
        roots = {place: os.path.abspath(images)} if images else {}
        class_names = dict(enumerate(names or _find_names(place, source_format)))
    splits = {}
    for split, path in paths.items():
        formats = {part.format for part in find_sources(path, class_names, roots)}
        if formats != {source_format}:
            raise UserError(f"{path}: is {' and '.join(sorted(formats))}, not {source_format}; correct --from")
        index = open_index(path, class_names, roots, prefix=f"{split}: ")
        index.report.log(f"{split}: ")
        splits[split] = _items(index)
    return class_names, splits


def _find_names(place: str, source_format: str) -> list[str]:
    if source_format == "coco":
        return coco_names(place)
    if source_format == "voc":
        return voc_names(place)
    raise UserError(f"{place}: YOLO labels have no names of classes; give them as --names, or a dataset YAML")


def _items(index: SplitIndex) -> list[Item]:
    rows = zip(index.paths, index.shapes.tolist(), index.starts[:-1], index.starts[1:], strict=True)
    return [
        Item(path, *shape, *(a[lo:hi] for a in (index.classes, index.boxes, index.shares, index.ignored)))
        for path, shape, lo, hi in rows
    ]


def _split_anew(
    splits: Mapping[str, Sequence[Item]], share: float, group: str | None, seed: int
) -> dict[str, list[Item]]:
    """Give `train` and `val` of the images of all splits."""
    items = list({item.path: item for part in splits.values() for item in part}.values())
    items.sort(key=lambda item: item.path)
    names = [item.path if group is None else os.path.basename(item.path) for item in items]
    chosen = choose_train(names, share, group, seed)
    new: dict[str, list[Item]] = {"train": [], "val": []}
    for item, is_train in zip(items, chosen, strict=True):
        new["train" if is_train else "val"].append(item)
    logger.info(f"{len(new['train'])} images in train, {len(new['val'])} in val")
    return new


def _check_target(out: Path, splits: Mapping[str, Sequence[Item]]) -> None:
    folders = {os.path.dirname(item.path) for items in splits.values() for item in items}
    for folder in sorted(folders):
        if out == Path(folder) or Path(folder) in out.parents:
            raise UserError(f"{out}: lies within the images of the source, {folder}; name a folder elsewhere")


def _write(
    folder: Path, target_format: str, names: Mapping[int, str], splits: Mapping[str, Sequence[Item]]
) -> dict[str, Any]:
    """Copy the images and write the annotations; gives the content of the YAML."""
    content: dict[str, Any] = {}
    for split, items in splits.items():
        targets = _name_files(items, target_format)
        for item, target in tqdm(
            list(zip(items, targets, strict=True)), desc=f"{split}: copying", unit="image", disable=None
        ):
            copy = folder / "images" / split / target
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(item.path, copy)
        if target_format == "yolo":
            content[split] = _yolo_split(folder, split, targets)
            _write_yolo(folder / "labels" / split, items, targets)
        else:
            content[split] = f"annotations/instances_{split}.json"
            file = folder / "annotations" / f"instances_{split}.json"
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps(coco_dictionary(items, targets, names)), encoding="utf-8")
    if target_format == "coco":
        content["images"] = {split: f"images/{split}" for split in splits}
    return {**content, "names": dict(names)}


def _yolo_split(folder: Path, split: str, targets: Sequence[str]) -> str:
    """What the YAML names: the folder of the images, or a list of them, since arrays in a folder do not count."""
    if not any(target.lower().endswith(ARRAY_SUFFIX) for target in targets):
        return f"images/{split}"
    (folder / f"{split}.txt").write_text("".join(f"images/{split}/{target}\n" for target in targets), "utf-8")
    return f"{split}.txt"


def _name_files(items: Sequence[Item], target_format: str) -> list[str]:
    """Name the copies: bare names, or paths below the common folder where two images share one."""
    paths = [item.path for item in items]
    targets = [os.path.basename(path) for path in paths]
    if len(set(map(_stem, targets))) < len(targets):
        root = os.path.commonpath([os.path.dirname(path) for path in paths])
        targets = [Path(os.path.relpath(path, root)).as_posix() for path in paths]
    owners: dict[str, str] = {}
    for path, target in zip(paths, targets, strict=True):
        other = owners.setdefault(_stem(target), path)
        if other != path and target_format == "yolo":
            raise UserError(f"{path}: its YOLO labels would lie in the same file as those of {other}; rename one")
    return targets


def _stem(target: str) -> str:
    return os.path.splitext(target)[0]


def _write_yolo(folder: Path, items: Sequence[Item], targets: Sequence[str]) -> None:
    left_out = 0
    for item, target in zip(items, targets, strict=True):
        rows = np.column_stack([item.classes, item.shares])[~item.ignored].tolist()
        left_out += int(item.ignored.sum())
        file = folder / f"{_stem(target)}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = (f"{int(cls)} {x:.12g} {y:.12g} {w:.12g} {h:.12g}\n" for cls, x, y, w, h in rows)
        file.write_text("".join(lines), encoding="ascii")
    if left_out:
        logger.warning(f"{folder.name}: {left_out} crowd regions are left out, which YOLO labels cannot hold")


def coco_dictionary(items: Sequence[Item], file_names: Sequence[str], names: Mapping[int, str]) -> dict[str, Any]:
    """Give images and boxes in the COCO detection format; ids count from 1, boxes keep a millionth of a pixel."""
    annotations: list[dict[str, Any]] = []
    for image_id, item in enumerate(items, 1):
        corners = np.hstack([item.boxes[:, :2], item.boxes[:, 2:] - item.boxes[:, :2]]).round(6)
        for cls, box, crowd in zip(item.classes.tolist(), corners.tolist(), item.ignored.tolist(), strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": cls + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": int(crowd),
                }
            )
    return {
        "info": {},
        "images": [
            {"id": number, "file_name": name, "width": item.width, "height": item.height}
            for number, (item, name) in enumerate(zip(items, file_names, strict=True), 1)
        ],
        "annotations": annotations,
        "categories": [{"id": index + 1, "name": name} for index, name in sorted(names.items())],
    }
