"""The pictures of a classifier: a folder for each class."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moat_det.data.config import check_names
from moat_det.data.images.choose_intensity import check_intensity, choose_intensity
from moat_det.data.images.find import count_suffixes, is_image, walk
from moat_det.data.images.header import ImageHeader, large_images, read_header
from moat_det.data.images.intensity import Intensity
from moat_det.data.of_model import settle_intensity
from moat_det.errors import UserError
from moat_det.messages import some
from moat_det.paths import is_yaml
from moat_det.pretraining.identity import identity, sample
from moat_det.progress import progress
from moat_det.strict_yaml import read_yaml

logger = logging.getLogger(__name__)

_KEYS = {"path", "train", "val", "names", "intensity"}
_LISTED = 6

Pictures = list[tuple[str, int]]
"""Files and the numbers of their classes."""


@dataclass(frozen=True)
class ClassData:
    """Pictures to learn from and to measure on.

    Attributes:
        names: Of the classes, in the order of their numbers.
        train: Sorted by class and path.
        val: Likewise.
        intensity: How more than 8 bits become 8.
        val_intensity: Likewise in validation, as in every use of the classifier.
    """

    names: list[str]
    train: Pictures
    val: Pictures
    intensity: Intensity
    val_intensity: Intensity

    def identity(self) -> dict[str, Any]:
        """Give what tells the pictures of the training from others: their number, their names, their classes."""
        return identity(f"{Path(file).name}\0{label}" for file, label in self.train)

    def contents(self) -> dict[str, Any]:
        """Give what tells them from others of the same names, too; raises `OSError` where one cannot be read."""
        return _contents(self.train)


def find_classes(data: str | Path, share: float | None = None, seed: int = 0) -> ClassData:
    """Find the pictures of a training.

    Args:
        data: A folder with `train` and `val`, each of which has a folder for each class; a folder with the folders of
            the classes, of which `share` is taken for validation; or a YAML that names them: `path`, `train`, `val`,
            and if need be `names`, the order of the classes, and `intensity`, as a detector's dataset says it.
        share: Part of the pictures of each class that is kept for validation; None where the folders say it.
        seed: Of the choice.

    Raises:
        UserError: A folder is missing, a class has no pictures, there is but one class, those of training and
            validation differ, or pictures cannot be brought to 8 bits.
    """
    root, train, val, names, intensity = _places(Path(data))
    if val is None:
        if share is None:
            raise UserError(f"{root}: it has no folders train and val: give --split 0.2 to keep a fifth for validation")
        found, pictures, deep = _read_classes(train, names)
        _check_split(pictures, len(found), share)
        parts = _divide(pictures, len(found), share, seed)
    else:
        if share is not None:
            raise UserError(f"--split {share}: leave it out, {root} has pictures for validation of its own")
        found, learnt, deep = _read_classes(train, names)
        others, measured, also_deep = _read_classes(val, names)
        deep |= also_deep
        if found != others:
            raise UserError(
                f"{root}: training and validation have other classes: only in {train.name}: "
                f"{some(sorted(set(found) - set(others)), _LISTED) or 'none'}; only in {val.name}: "
                f"{some(sorted(set(others) - set(found)), _LISTED) or 'none'}"
            )
        parts = learnt, measured
    if len(found) < 2:
        raise UserError(f"{root}: there is one class alone, {found[0]}: a classifier needs two or more")
    learning, measuring = ([file for file, _ in part] for part in parts)
    chosen = choose_intensity(intensity, [Path(file) for file in learning])
    check_intensity(chosen, learning, len(deep.intersection(learning)))
    settled = settle_intensity(chosen, measuring, len(deep.intersection(measuring)))
    return ClassData(found, parts[0], parts[1], chosen, settled)


def find_measured(
    data: str | Path, names: Sequence[str], intensity: Intensity, learnt: Mapping[str, Any] | None = None
) -> tuple[Pictures, Intensity]:
    """Find the pictures to measure a classifier on: `val` of a folder or YAML, else of the folder of classes itself.

    Of that, where it is the one that the training divided by `--split`, only those that were kept from it.

    Args:
        data: As in `find_classes`, or a folder with the folders of the classes.
        names: The classifier's classes.
        intensity: That of its training.
        learnt: What it learnt from: `split`, `seed` and `ClassData.contents`; None where that is not known.

    Returns:
        The pictures, and how more than 8 bits become 8.

    Raises:
        UserError: A folder is missing, its classes are others than the classifier's, or pictures cannot be brought to
            8 bits.
    """
    _, train, val, order, _ = _places(Path(data))
    place = val or train
    found, pictures, deep = _read_classes(place, order)
    if set(found) != set(names):
        raise UserError(
            f"{place}: it has other classes than the classifier: only here: "
            f"{some(sorted(set(found) - set(names)), _LISTED) or 'none'}; not here: "
            f"{some(sorted(set(names) - set(found)), _LISTED) or 'none'}"
        )
    pictures = sorted((file, names.index(found[label])) for file, label in pictures)
    if val is None and learnt is not None:
        pictures = _not_learnt(place, pictures, len(names), learnt)
    files = [file for file, _ in pictures]
    return pictures, settle_intensity(intensity, files, len(deep.intersection(files)))


def _not_learnt(folder: Path, pictures: Pictures, classes: int, learnt: Mapping[str, Any]) -> Pictures:
    """Give the pictures that the training kept for validation, or all where it had others; either is told."""
    split = learnt["split"]
    train, kept = (pictures, pictures) if split is None else _divide(pictures, classes, split, learnt["seed"])
    # By name alone the pictures of a camera that numbers them anew for each folder would be taken for those of another.
    if _contents(sorted(train, key=lambda each: each[1])) == {key: learnt[key] for key in ("pictures", "digest")}:
        if split is None:
            logger.warning(f"{folder}: these are the pictures that the classifier learnt: its figures are too good")
        else:
            logger.info(f"{folder}: measured on the {len(kept)} pictures that --split {split} kept from training")
        return kept
    if split is not None:
        logger.warning(
            f"{folder}: these are others than the pictures that --split {split} divided, so all are measured; with any "
            "that the classifier learnt its figures are too good"
        )
    return pictures


def _contents(pictures: Pictures) -> dict[str, Any]:
    return identity(f"{Path(file).name}\0{label}\0{sample(file)}" for file, label in pictures)


def _places(data: Path) -> tuple[Path, Path, Path | None, list[str] | None, Intensity]:
    """Give the root, the folder of training, that of validation if there is one, the classes and the intensity."""
    if is_yaml(data):
        return _of_yaml(data)
    if not data.is_dir():
        raise UserError(f"--data {data}: there is no such folder; give one with a folder for each class, or a YAML")
    train, val = data / "train", data / "val"
    if train.is_dir() and val.is_dir():
        return data, train, val, None, Intensity()
    if train.is_dir() != val.is_dir():
        absent = val if train.is_dir() else train
        raise UserError(
            f"{absent}: there is no such folder: give both train and val, or folders of classes alone and --split"
        )
    return data, data, None, None, Intensity()


def _of_yaml(file: Path) -> tuple[Path, Path, Path | None, list[str] | None, Intensity]:
    content = read_yaml(file)
    if not isinstance(content, Mapping) or "train" not in content:
        raise UserError(f"{file}: it must hold 'train', a folder with a folder for each class, and 'val' likewise")
    if unknown := sorted(map(str, content.keys() - _KEYS)):
        raise UserError(f"{file}: unknown key '{unknown[0]}'; there are {', '.join(sorted(_KEYS))}")
    root = file.resolve().parent / str(content.get("path") or "")
    names = content.get("names")
    val = root / str(content["val"]) if content.get("val") else None
    return (
        file,
        root / str(content["train"]),
        val,
        None if names is None else list(check_names(names, file).values()),
        Intensity.parse(content.get("intensity"), file),
    )


def _read_classes(folder: Path, order: list[str] | None) -> tuple[list[str], Pictures, set[str]]:
    """Read a folder that has one for each class, and tell what is left out.

    Returns:
        The names of the classes, the pictures, and which of them have more than 8 bits.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder")
    entries = sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
    names = [name for name in entries if (folder / name).is_dir()]
    if loose := [name for name in entries if name not in names]:
        logger.warning(f"{folder}: left out, since they lie in no class: {count_suffixes(loose)}")
    if not names:
        raise UserError(f"{folder}: it has no folders, of which each would be a class")
    if order is not None:
        if absent := sorted(set(order) ^ set(names)):
            raise UserError(f"{folder}: its folders and 'names' differ in {some(absent, _LISTED)}")
        names = order
    pictures: Pictures = []
    unreadable: list[str] = []
    headers: dict[str, ImageHeader] = {}
    with large_images():
        for label, name in progress(list(enumerate(names)), text=f"{folder.name}: classes", unit="class", leave=False):
            files = sorted(walk(folder / name))
            if others := [file for file in files if not is_image(file)]:
                logger.warning(f"{folder / name}: left out, since they are no images: {count_suffixes(others)}")
            whole = [file for file in files if is_image(file) and _is_readable(file, headers, unreadable)]
            if not whole:
                raise UserError(f"{folder / name}: the class has no picture that can be read: add some, or remove it")
            pictures += [(file, label) for file in whole]
    if unreadable:
        logger.warning(f"{folder}: {len(unreadable)} cannot be read and are left out: {some(unreadable, _LISTED)}")
    if several := [file for file, header in headers.items() if header.pictures > 1]:
        logger.warning(
            f"{folder}: {len(several)} hold several pictures, of which the first is taken: {some(several, _LISTED)}"
        )
    return names, pictures, {file for file, header in headers.items() if header.deep}


def _is_readable(file: str, headers: dict[str, ImageHeader], unreadable: list[str]) -> bool:
    try:
        headers[file] = read_header(file)
    except OSError as error:
        unreadable.append(f"{file} ({error.strerror or error})")
        return False
    return True


def _check_split(pictures: Pictures, classes: int, share: float) -> None:
    """Raise `UserError` where a share of each class cannot be kept."""
    if not 0 < share < 1:
        raise UserError(f"--split {share}: must be a share between 0 and 1")
    for label in range(classes):
        own = [file for file, its in pictures if its == label]
        if len(own) < 2:
            raise UserError(f"{Path(own[0]).parent}: the class has one picture alone, which --split cannot divide")


def _divide(pictures: Pictures, classes: int, share: float, seed: int) -> tuple[Pictures, Pictures]:
    """Keep a share of each class for validation, at least one picture, and leave at least one to learn from."""
    train: Pictures = []
    val: Pictures = []
    for label in range(classes):
        own = [each for each in pictures if each[1] == label]
        order = np.random.default_rng([seed, label]).permutation(len(own))
        kept = min(max(round(share * len(own)), 1), len(own) - 1)
        val += [own[index] for index in sorted(order[:kept])]
        train += [own[index] for index in sorted(order[kept:])]
    return train, val
