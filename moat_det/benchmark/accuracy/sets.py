"""The sets of a comparison, each with a test split that neither trains a model nor chooses its checkpoint."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from moat_det.data.config import SPLITS, DatasetConfig, kept_keys, load_dataset, reading, split_paths
from moat_det.data.formats.coco import coco_dictionary
from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.data.groups import choose_train, group_of
from moat_det.data.index import SplitIndex, open_index
from moat_det.demo import DEMO, dataset_source
from moat_det.files import atomic_write_json, atomic_write_text, distinct_names
from moat_det.messages import some

logger = logging.getLogger(__name__)

CHOOSING_SHARE = 0.1
"""Of `train` that chooses the checkpoint where the data has no test split, so that its `val` can be the test."""

_GENERIC = {"data", "dataset"}  # names of a YAML that tell no set from another


@dataclass(frozen=True)
class BenchSet:
    """A set to train and test on.

    Attributes:
        name: Of its folders and rows, unlike that of any other.
        yaml_file: Has `train`, `val`, which chooses the checkpoint, and `test`.
        identity: What tells the images and labels of each split from others (see `SplitIndex.identity`).
        test_from: The split of the user's that is the test: "test", or "val".
        size: Median height and width of the test's images, in pixels.
    """

    name: str
    yaml_file: Path
    identity: dict[str, dict[str, int | str]]
    test_from: str
    size: tuple[int, int]

    @property
    def images(self) -> dict[str, int]:
        """How many images each split has."""
        return {split: int(self.identity[split]["images"]) for split in SPLITS}


def make_sets(sources: Sequence[str], out: Path, group: str | None = None, seed: int = 0) -> list[BenchSet]:
    """Give each dataset a test split, and say which images it has; nothing is written beside the data.

    A dataset with a `test` is taken as it is. Of another, `val` becomes the test, and a tenth of `train`, chosen by
    group, becomes the `val` that chooses the checkpoint; lists of both, and a YAML, are written below `out`.

    Args:
        sources: Dataset YAMLs, or the word for the demo set.
        out: The folder for lists and YAMLs.
        group: A regular expression that is searched in the images' file names: images for which its first group, or
            else the whole match, is the same stay in one split. None: every image is a group.
        seed: Of the choice.

    Raises:
        UserError: A dataset is not in order, or cannot be split.
    """
    found = []
    for name, data in _load(sources):
        if "test" in data:
            made = _describe(name, load_dataset(data["yaml_file"], "test"), "test")
        else:
            made = _split(name, data, out / name, group, seed, CHOOSING_SHARE)
        if group is not None:
            _warn_of_shared_groups(made, group)
        counts = ", ".join(f"{number} images in {split}" for split, number in made.images.items())
        logger.info(f"{name}: {counts}; the test is the data's {made.test_from}")
        found.append(made)
    return found


def split_training(source: str, folder: Path, share: float, group: str | None = None, seed: int = 0) -> BenchSet:
    """Cut a part off a dataset's `train`, to choose by; its `val` becomes the test, its own `test` is left alone.

    Args:
        source: Dataset YAML, or the word for the demo set.
        folder: Where lists of the parts and a YAML are written.
        share: Of the training images that choose, above 0 and below 1.
        group: As in `make_sets`.
        seed: Of the choice.

    Raises:
        UserError: The dataset is not in order, or cannot be split.
    """
    ((name, data),) = _load([source])
    return _split(name, data, folder / name, group, seed, share)


def take_shares(sources: Sequence[str], out: Path, share: float, group: str | None = None) -> list[BenchSet]:
    """Take a part of each dataset's `train` to train on; its `val` is both `val` and test, so it shall choose nothing.

    Args:
        sources: Dataset YAMLs, or the word for the demo set.
        out: Where lists of the parts and YAMLs are written.
        share: Of the training images, above 0 and at most 1.
        group: As in `make_sets`.

    Raises:
        UserError: A dataset is not in order, or cannot be split.
    """
    found = []
    for name, data in _load(sources):
        train, chosen = _choose(data, share, group, seed=0)
        found.append(_write(name, data, out / name, train, {"train": chosen}, ["val", "test"]))
    return found


def _load(sources: Sequence[str]) -> Iterator[tuple[str, DatasetConfig]]:
    """Give the name and the content of each dataset."""
    for source, name in zip(sources, distinct_names([_name(source) for source in sources]), strict=True):
        yield name, load_dataset(dataset_source(source))


def _name(source: str) -> str:
    path = Path(os.path.abspath(os.path.expanduser(source)))
    return DEMO if source == DEMO else path.parent.name if path.stem in _GENERIC else path.stem


def _split(name: str, data: DatasetConfig, folder: Path, group: str | None, seed: int, share: float) -> BenchSet:
    """Cut the choosing part off `train`, and write lists of the two parts and a YAML."""
    train, chosen = _choose(data, 1 - share, group, seed)
    return _write(name, data, folder, train, {"train": chosen, "val": [not is_train for is_train in chosen]}, ["test"])


def _choose(data: DatasetConfig, share: float, group: str | None, seed: int) -> tuple[SplitIndex, list[bool]]:
    """Give the training images, and which of them are in a share of them."""
    index = _index(data, "train")
    index.report.log("train: ")
    if share == 1:
        return index, [True] * len(index.paths)
    names = [path if group is None else os.path.basename(path) for path in index.paths]
    return index, choose_train(names, share, group, seed)


def _write(
    name: str,
    data: DatasetConfig,
    folder: Path,
    train: SplitIndex,
    chosen: Mapping[str, Sequence[bool]],
    own: Sequence[str],
) -> BenchSet:
    """Write lists of what is chosen of `train` for each part, and a YAML; the splits in `own` are the data's `val`."""
    images = list(train.images())
    parts = {part: list(compress(images, which)) for part, which in chosen.items()}
    listed = train.formats == ["yolo"] and all(map(_is_utf8, train.paths))  # as a list of images is
    content = _lists(folder, parts) if listed else _jsons(folder, parts, data["names"])
    paths = split_paths(data, "val")
    content |= {split: list(paths) for split in own}
    if roots := [root for path in paths if (root := data.get("image_roots", {}).get(path))]:
        content.setdefault("images", {}).update(dict.fromkeys(own, roots[0]))
    content |= {**kept_keys(data, with_labels=True), "names": data["names"]}
    file = folder / "data.yaml"
    atomic_write_text(file, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return _describe(name, load_dataset(file), "val")


def _lists(folder: Path, parts: Mapping[str, Sequence[LabelledImage]]) -> dict[str, Any]:
    """Write a list of images for each part; gives what the YAML says of them."""
    for part, images in parts.items():
        atomic_write_text(folder / f"{part}.txt", "".join(f"{image.path}\n" for image in images))
    return {part: f"{part}.txt" for part in parts}


def _jsons(folder: Path, parts: Mapping[str, Sequence[LabelledImage]], names: Mapping[int, str]) -> dict[str, Any]:
    """Write a COCO JSON for each part; gives what the YAML says of them."""
    common = Path(os.path.commonpath([os.path.dirname(image.path) for images in parts.values() for image in images]))
    root = next(folder for folder in (common, *common.parents) if _is_utf8(str(folder)))  # which the YAML can name
    for part, images in parts.items():
        files = [Path(os.path.relpath(image.path, root)).as_posix() for image in images]
        atomic_write_json(folder / f"{part}.json", coco_dictionary(images, files, names))
    return {**{part: f"{part}.json" for part in parts}, "images": dict.fromkeys(parts, str(root))}


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _describe(name: str, data: DatasetConfig, test_from: str) -> BenchSet:
    indices = {split: _index(data, split) for split in SPLITS}
    height, width = (int(side) for side in np.median(indices["test"].shapes, axis=0))
    identity: dict[str, dict[str, int | str]] = {split: index.identity() for split, index in indices.items()}
    return BenchSet(name, Path(data["yaml_file"]), identity, test_from, (height, width))


def _index(data: DatasetConfig, split: str) -> SplitIndex:
    return open_index(split_paths(data, split), data["names"], prefix=f"{split}: ", **reading(data))


def _warn_of_shared_groups(made: BenchSet, group: str) -> None:
    """Say where a group has images in the test and in the training: the data's own split is taken all the same."""
    data = load_dataset(made.yaml_file, "test")
    groups = {
        split: {group_of(os.path.basename(path), group) for path in _index(data, split).paths} for split in SPLITS
    }
    if shared := sorted(groups["test"] & (groups["train"] | groups["val"])):
        logger.warning(
            f"{made.name}: {len(shared)} groups have images in the test and in the training, such as "
            f"{some(shared, 3)}: the figures are too high for new parts; split anew with moat convert --split --group"
        )
