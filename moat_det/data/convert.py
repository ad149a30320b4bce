"""Datasets as files of another format: images copied, annotations written anew, splits made by group."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from moat_det.data.config import SPLITS, kept_keys, load_dataset, reading
from moat_det.data.formats.coco import coco_dictionary, coco_names
from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.data.formats.sources import find_sources
from moat_det.data.formats.voc import voc_names
from moat_det.data.formats.yolo import yolo_text
from moat_det.data.formats.yolo_files import label_places
from moat_det.data.groups import choose_train
from moat_det.data.images.suffixes import ARRAY_SUFFIX
from moat_det.data.index import open_index
from moat_det.errors import UserError
from moat_det.files import atomic_folder, check_writable, folded
from moat_det.messages import way_out
from moat_det.paths import is_yaml
from moat_det.progress import progress

logger = logging.getLogger(__name__)


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
    class_names, splits, keys = _read_source(source, source_format, names, images)
    if train_share is not None:
        splits = _split_anew(splits, train_share, group, seed)
    write_dataset(out, target_format, class_names, splits, keys)
    if "val" not in splits:
        logger.warning(f"{out / 'data.yaml'}: has no 'val', which training needs; split the set, or add one")
    return out / "data.yaml"


def check_free(out: Path) -> None:
    """Raise `UserError` where a folder that is to be made exists and is not empty."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: exists and is not empty; name a new folder")


def check_target(out: Path, images: Iterable[str]) -> None:
    """Make sure that images can be copied into a folder that is to be made.

    Args:
        out: The folder, absolute.
        images: Their paths, absolute.

    Raises:
        UserError: It lies within their folders, where nothing is written, or nothing can be written beside it.
    """
    for folder in sorted({os.path.dirname(image) for image in images}):
        if out == Path(folder) or Path(folder) in out.parents:
            raise UserError(f"{out}: lies within the images of the source, {folder}; name a folder elsewhere")
    with _refusing(out):
        check_writable(out.parent)


def write_dataset(
    out: Path,
    target_format: str,
    names: Mapping[int, str],
    splits: Mapping[str, Sequence[LabelledImage]],
    keys: Mapping[str, Any] | None = None,
    texts: Mapping[str, str] | None = None,
) -> None:
    """Write images, annotations and `data.yaml`, beside `out` first; it is renamed when whole.

    Args:
        out: The folder to make, absolute.
        target_format: "yolo" or "coco".
        names: Class id to name.
        splits: The images of each split, which are copied.
        keys: Further keys of the YAML, such as `kept_keys` gives.
        texts: Further text files by name.

    Raises:
        UserError: `out` holds something, lies within the images, or cannot be written.
    """
    check_free(out)
    check_target(out, (image.path for images in splits.values() for image in images))
    with _refusing(out), atomic_folder(out) as folder:
        content = {**_write(folder, target_format, names, splits), **(keys or {})}
        (folder / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), "utf-8")
        for name, text in (texts or {}).items():
            (folder / name).write_text(text, "utf-8")


@contextmanager
def _refusing(out: Path) -> Iterator[None]:
    """Let an `OSError` of the block, which writes `out`, be a `UserError`."""
    try:
        yield
    except OSError as error:
        place = error.filename or out
        helps = way_out(error) or "mend it"
        raise UserError(f"{out}: cannot be written ({place}: {error.strerror}); {helps}") from error


def _read_source(
    source: str | Path, source_format: str, names: Sequence[str] | None, images: str | Path | None
) -> tuple[dict[int, str], dict[str, list[LabelledImage]], dict[str, Any]]:
    """Give the names of the classes, the images of each split, and the keys that the new YAML keeps."""
    place = os.path.abspath(os.path.expanduser(source))
    if is_yaml(place):
        if names or images:
            raise UserError(f"{source}: gives names and images itself; leave the arguments out")
        data = load_dataset(place)
        class_names: dict[int, str] = data["names"]
        paths = {split: data[split] for split in SPLITS if split in data}
        how, keys, channels = reading(data), kept_keys(data), data["channels"]
    else:
        if images and source_format == "yolo":
            raise UserError(f"--images {images}: with --from yolo the images are those of --source; leave it out")
        names = [name.strip() for name in names or ()]
        if repeated := [name for name in names if names.count(name) > 1]:
            raise UserError(f"--names: '{repeated[0]}' is there twice; name each class once")
        if not os.path.exists(place):
            raise UserError(f"{source}: does not exist; give a dataset YAML, a COCO JSON, or a folder")
        paths = {"train": place}
        how, keys, channels = {"image_roots": {place: os.path.abspath(images)}} if images else {}, {}, 3
        class_names = dict(enumerate(names or _find_names(place, source_format)))
    splits: dict[str, list[LabelledImage]] = {}
    for split, path in paths.items():
        formats = {part.format for part in find_sources(path, class_names, **how)}
        if formats != {source_format}:
            raise UserError(f"{path}: is {' and '.join(sorted(formats))}, not {source_format}; correct --from")
        index = open_index(path, class_names, prefix=f"{split}: ", **how)
        index.report.log(f"{split}: ", channels)
        splits[split] = list(index.images())
    return class_names, splits, keys


def _find_names(place: str, source_format: str) -> list[str]:
    if source_format == "coco":
        return coco_names(place)
    if source_format == "voc":
        return voc_names(place)
    raise UserError(f"{place}: YOLO labels have no names of classes; give them as --names, or a dataset YAML")


def _split_anew(
    splits: Mapping[str, Sequence[LabelledImage]], share: float, group: str | None, seed: int
) -> dict[str, list[LabelledImage]]:
    """Give `train` and `val` of the images of all splits."""
    images = list({image.path: image for part in splits.values() for image in part}.values())
    images.sort(key=lambda image: image.path)
    names = [image.path if group is None else os.path.basename(image.path) for image in images]
    chosen = choose_train(names, share, group, seed)
    new: dict[str, list[LabelledImage]] = {"train": [], "val": []}
    for image, is_train in zip(images, chosen, strict=True):
        new["train" if is_train else "val"].append(image)
    logger.info(f"{len(new['train'])} images in train, {len(new['val'])} in val")
    return new


def _write(
    folder: Path, target_format: str, names: Mapping[int, str], splits: Mapping[str, Sequence[LabelledImage]]
) -> dict[str, Any]:
    """Copy the images and write the annotations; gives the content of the YAML."""
    content: dict[str, Any] = {}
    for split, images in splits.items():
        targets = name_files(images)
        copies = [folder / "images" / split / target for target in targets]
        labels = [Path(label_places(str(copy))[0]) for copy in copies] if target_format == "yolo" else []
        _check_distinct(images, labels or copies)
        for image, copy in progress(list(zip(images, copies, strict=True)), text=f"{split}: copying", unit="image"):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(image.path, copy)
        if target_format == "yolo":
            content[split] = _yolo_split(folder, split, targets)
            _write_yolo(split, images, labels)
        else:
            content[split] = f"annotations/instances_{split}.json"
            file = folder / "annotations" / f"instances_{split}.json"
            file.parent.mkdir(exist_ok=True)
            coco = coco_dictionary(images, targets, names)
            file.write_text(json.dumps(coco), encoding="utf-8")
    if target_format == "coco":
        content["images"] = {split: f"images/{split}" for split in splits}
    return {**content, "names": dict(names)}


def _yolo_split(folder: Path, split: str, targets: Sequence[str]) -> str:
    """Give what the YAML names: the folder of the images, or a list of them, since arrays in a folder do not count."""
    if not any(target.lower().endswith(ARRAY_SUFFIX) for target in targets):
        return f"images/{split}"
    (folder / f"{split}.txt").write_text("".join(f"images/{split}/{target}\n" for target in targets), "utf-8")
    return f"{split}.txt"


def name_files(images: Sequence[LabelledImage]) -> list[str]:
    """Name the copies of a split's images: bare names, or paths below the common folder where two images share one."""
    paths = [image.path for image in images]
    targets = [os.path.basename(path) for path in paths]
    if len({folded(os.path.splitext(target)[0]) for target in targets}) < len(targets):
        root = os.path.commonpath([os.path.dirname(path) for path in paths])
        targets = [Path(os.path.relpath(path, root)).as_posix() for path in paths]
    return targets


def _check_distinct(images: Sequence[LabelledImage], places: Sequence[Path]) -> None:
    """Make sure that no file that is written for an image takes the place of another's, on whichever disk."""
    owners: dict[str, str] = {}
    for image, place in zip(images, places, strict=True):
        other = owners.setdefault(folded(str(place)), image.path)
        if other != image.path:
            what, those = ("YOLO labels", "those") if place.suffix == ".txt" else ("copy", "that")
            raise UserError(
                f"{image.path}: its {what} would lie in the same file as {those} of {other}, at least on a disk that "
                "takes upper and lower case for one, as on Windows and macOS, where the set may be copied; rename one"
            )


def _write_yolo(split: str, images: Sequence[LabelledImage], labels: Sequence[Path]) -> None:
    for image, file in zip(images, labels, strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yolo_text(image), encoding="ascii")
    if left_out := sum(int(image.ignored.sum()) for image in images):
        logger.warning(f"{split}: {left_out} crowd regions are left out, which YOLO labels cannot hold")
