"""The dataset YAML: reading, checking and resolving it. Nothing is downloaded, run or written."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

from moat_det.data.images.find import is_there
from moat_det.data.images.intensity import Intensity
from moat_det.data.index.names import json_names
from moat_det.errors import UserError
from moat_det.messages import as_given, is_plain, shown, some, suggest
from moat_det.paths import is_yaml
from moat_det.strict_yaml import read_yaml
from moat_det.values import is_count

logger = logging.getLogger(__name__)

MAX_CHANNELS = 128  # OpenCV scales and turns no more at once
SPLITS: tuple[Literal["train", "val", "test"], ...] = ("train", "val", "test")
_READ_AS = " (YAML reads yes, no, on and off without quotes as truth values)"
_EMPTY: tuple[Any, ...] = (None, "", [], {})
_EXAMPLES = {"train": "train: images/train", "val": "val: images/val", "names": "names: [scratch, pit]"}


class _Splits(TypedDict, total=False):
    """What a dataset YAML may leave out."""

    train: str | list[str]
    val: str | list[str]
    test: str | list[str]
    image_roots: dict[str, str]
    keypoints: int


class DatasetConfig(_Splits):
    """A dataset YAML, read and resolved: what the engine calls `data`, which has to be a dictionary.

    `train`, `val` and `test` are an absolute path or a list of them, and there if the YAML has them; `image_roots` is
    there if it gives `images`, and has the folder of the images by path of a COCO JSON or a VOC folder; `keypoints` is
    there if it gives `kpt_shape`, and is how many numbers may follow the box in a row of a label.

    Attributes:
        path: The folder that the splits are relative to.
        names: Class id to name, {0: "scratch", ...}.
        nc: The number of names.
        channels: Of the images; 3 where the YAML does not say.
        intensity: How more than 8 bits become 8.
        yaml_file: The YAML itself.
    """

    path: str
    names: dict[int, str]
    nc: int
    channels: int
    intensity: Intensity
    yaml_file: str


def check_split(data: Mapping[str, Any], split: str, file: str | Path) -> None:
    """Raise `UserError` where what was read of a dataset YAML has no such split."""
    if split not in data:
        given = ", ".join(key for key in SPLITS if key in data)
        raise UserError(f"{file}: no split {shown(split)} in it; add the key {shown(split)} or use one of {given}")


def split_paths(data: DatasetConfig, split: str) -> list[str]:
    """Give what a split of a dataset names, as a list of paths; empty where the YAML has no such split."""
    paths = cast("dict[str, Any]", data).get(split, [])
    return paths if isinstance(paths, list) else [paths]


def reading(data: DatasetConfig) -> dict[str, Any]:
    """How the files of a dataset are read: what `open_index` and `find_sources` take beside paths and names."""
    return {
        "image_roots": data.get("image_roots"),
        "root": data.get("path"),
        "keypoints": data.get("keypoints", 0),
        "entries": [path for split in SPLITS for path in split_paths(data, split)],
    }


def kept_keys(data: DatasetConfig, with_labels: bool = False) -> dict[str, Any]:
    """Give the keys of a dataset's YAML that one derived from it has to have: they say how the same files are read.

    Args:
        data: What `load_dataset` gives.
        with_labels: Whether the derived dataset reads the label files of the first, and not new ones of boxes alone.
    """
    keys = ("channels", "intensity", *(("kpt_shape",) if with_labels else ()))
    content = read_yaml(Path(data["yaml_file"]))
    return {key: content[key] for key in keys if content.get(key) not in _EMPTY}


def load_dataset(source: str | Path, split: str | None = None) -> DatasetConfig:
    """Read a dataset YAML into what the engine calls `data`.

    Args:
        source: A YAML file, or a folder that holds one; for the word "demo" see `moat_det.demo.dataset_source`.
        split: The split that the caller needs; None for training, which needs `train` and `val`. What another
            split names may be missing from this machine.

    Raises:
        UserError: The file or one of its keys is missing or wrong; the message names both and the way out.
    """
    file = _find_yaml(source)
    content = read_yaml(file)
    if not isinstance(content, dict):
        raise UserError(f"{file}: not a dataset YAML; it needs the keys train, val and names")
    if "val" not in content and "validation" in content:
        content["val"] = content.pop("validation")
    names_in_json = content.get("names") in _EMPTY and any(map(_is_json, _entries(content)))
    for key in ("train", "val", "names"):
        if content.get(key) in _EMPTY and not (key == "names" and names_in_json):
            raise UserError(
                f"{file}: the key '{key}' is missing or empty{suggest(key, content)}; add '{_EXAMPLES[key]}'"
            )
    names = {} if names_in_json else check_names(content["names"], file)
    if content.get("download"):
        logger.info(f"{file}: the key 'download' is ignored, nothing is downloaded or run")

    root = _find_root(content.get("path"), file)
    data: dict[str, Any] = {"path": str(root)}
    needed = {split} if split else {"train", "val"}
    for key in SPLITS:
        if content.get(key) not in _EMPTY:
            data[key] = _resolve_split(content[key], key, root, file, must_exist=key in needed)
    if split:
        check_split(data, split, file)
    if content.get("images") not in _EMPTY:
        data["image_roots"] = _resolve_image_roots(content["images"], data, root, file, needed)
    if names_in_json:
        names = _read_names(data, file)
    _check_counts(content, len(names), file)
    if content.get("kpt_shape") not in _EMPTY:
        data["keypoints"] = _count_keypoints(content["kpt_shape"], file)
    intensity = Intensity.parse(content.get("intensity"), file)
    data |= {
        "names": names,
        "nc": len(names),
        "channels": content.get("channels") or 3,
        "intensity": intensity,
        "yaml_file": str(file),
    }
    return cast("DatasetConfig", data)


def check_channels(known: int, data: DatasetConfig) -> None:
    """Check that a model of `known` channels is for the images of a dataset.

    Raises:
        UserError: It takes another number.
    """
    if known != data["channels"]:
        raise UserError(
            f"the weights take images of {known} channels, {data['yaml_file']} has {data['channels']}: use the weights "
            "that were trained on such images, or correct 'channels'"
        )


def _find_yaml(source: str | Path) -> Path:
    path = Path(os.path.abspath(os.path.expanduser(source)))
    if os.path.isfile(path):
        return path
    if os.path.isdir(path):
        files = _yaml_files(path)
        if path / "data.yaml" in files:
            return path / "data.yaml"
        if not files:
            raise UserError(f"{path}: no dataset YAML in this folder; give the path of one (--data demo needs none)")
        if len(files) > 1:
            raise UserError(f"{path}: {len(files)} YAML files in this folder, give one of {_listing(files)}")
        return files[0]
    if not os.path.isdir(path.parent):
        raise UserError(f"{source}: no such dataset YAML, and no folder {path.parent}; check the path")
    files = _yaml_files(path.parent)
    hint = suggest(path.name, [file.name for file in files])
    if not hint and files:
        hint = f" (that folder has {_listing(files)})"
    raise UserError(f"{source}: no such dataset YAML in {path.parent}{hint}; check the path, or try --data demo")


def _yaml_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if is_yaml(file) and file.is_file())


def _listing(files: list[Path]) -> str:
    return some([file.name for file in files], 5)


def _entries(holder: dict[Any, Any]) -> list[Any]:
    """Give what the splits name, one by one."""
    values = [holder.get(key) for key in SPLITS]
    return [entry for value in values for entry in (value if isinstance(value, list) else [value])]


def _is_json(entry: Any) -> bool:
    return isinstance(entry, str) and entry.lower().endswith(".json")


def _read_names(data: dict[str, Any], file: Path) -> dict[int, str]:
    """Give the names of the categories of the first COCO JSON that is there."""
    found = [entry for entry in _entries(data) if _is_json(entry) and os.path.isfile(entry)]
    if not found:
        raise UserError(f"{file}: the key 'names' is missing, and no COCO JSON is there to give them; add 'names'")
    return dict(enumerate(json_names(*dict.fromkeys(found))))


def check_names(names: Any, file: Path) -> dict[int, str]:
    """Give {0: name, ...} from a list or a mapping of ids to names.

    Raises:
        UserError: It is neither, a name is no text or there twice, or the ids are not those from 0 on.
    """
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict):
        raise UserError(f"{file}: 'names' is {shown(names)}; write a list, such as {_EXAMPLES['names']}")
    by_id: dict[int, str] = {}
    for key, name in names.items():
        number, text = _as_text(key), _as_text(name)
        if number is None or not number.isdecimal() or len(number) > 9:
            raise UserError(f"{file}: 'names' has the id {shown(key)}; write whole numbers from 0 on: '0: scratch'")
        if text is None:
            raise UserError(
                f"{file}: 'names' has {shown(name)} as class {key}; write a name, in quotes: {key}: \"...\""
                f"{_READ_AS if isinstance(name, bool) else ''}"
            )
        if int(number) in by_id:
            raise UserError(f"{file}: 'names' has the id {int(number)} twice; give each class its own")
        by_id[int(number)] = text
    absent = [i for i in range(len(by_id)) if i not in by_id]
    if absent:
        raise UserError(
            f"{file}: 'names' has {len(by_id)} classes but no id {absent[0]}; number them from 0 without gaps"
        )
    seen: dict[str, int] = {}
    for i, name in sorted(by_id.items()):
        if name in seen:
            raise UserError(f"{file}: 'names' has '{name}' as class {seen[name]} and as class {i}; rename one")
        seen[name] = i
    return dict(sorted(by_id.items()))


def _as_text(value: Any) -> str | None:
    """Give a name or a number of the YAML as text; None for what is neither."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        text = str(value).strip()
    except ValueError:  # a whole number of thousands of digits
        return None
    return text if is_plain(text) else None


def _check_counts(content: dict[Any, Any], num_names: int, file: Path) -> None:
    nc, channels = content.get("nc"), content.get("channels")
    if nc is not None and _as_text(nc) not in {str(num_names), f"{num_names}.0"}:
        raise UserError(f"{file}: 'nc: {as_given(nc)}' but {num_names} names; correct 'nc' or remove it")
    if channels is not None and not (is_count(channels) and channels <= MAX_CHANNELS):
        raise UserError(
            f"{file}: 'channels: {as_given(channels)}' is no whole number from 1 to {MAX_CHANNELS}; write the number "
            "of bands, or remove it: gray and colour are read as 3 channels"
        )


def _count_keypoints(shape: Any, file: Path) -> int:
    """How many numbers follow the box in a row of a pose dataset, by its (points, numbers of each)."""
    if not isinstance(shape, list) or len(shape) != 2 or not all(map(is_count, shape)):
        raise UserError(f"{file}: 'kpt_shape: {shown(shape)}' is not [points, 2 or 3], as in [17, 3]; correct it")
    return shape[0] * shape[1]


def _find_root(given: Any, file: Path) -> Path:
    """Give the folder that the splits are relative to."""
    if given in (None, ""):
        return file.parent
    if not is_plain(given):
        raise UserError(f"{file}: 'path: {shown(given)}' is no path; write the dataset's folder or remove the key")
    bases = (file.parent, Path.cwd())
    place = os.path.expanduser(_with_own_separators(given, *bases))
    candidates = [os.path.abspath(base / place) for base in bases]
    for candidate in candidates:
        if os.path.isdir(candidate):
            return Path(candidate)
    looked = " and ".join(dict.fromkeys(candidates))
    raise UserError(f"{file}: 'path: {given}' does not exist (looked for {looked}); correct it, or remove the key")


def _resolve_split(value: Any, key: str, root: Path, file: Path, must_exist: bool) -> str | list[str]:
    entries = value if isinstance(value, list) else [value]
    paths = [_resolve(entry, key, f"{key}: images/{key}", root, file, must_exist) for entry in entries]
    return paths if isinstance(value, list) else paths[0]


def _resolve(entry: Any, key: str, example: str, root: Path, file: Path, must_exist: bool) -> str:
    """Give the absolute path that an entry of the YAML means."""
    if not is_plain(entry):
        raise UserError(f"{file}: '{key}' has {shown(entry)} where a path belongs; write '{example}'")
    name = _with_own_separators(entry, root)
    # Not `realpath`: labels lie beside the images under the name that the user gave, also behind a link.
    path = os.path.abspath(root / os.path.expanduser(name))
    if name.startswith("../") and not os.path.exists(path) and os.path.exists(root / name[3:]):
        path = os.path.abspath(root / name[3:])  # some tools export ../train/images where train/images is meant
    if must_exist and not is_there(path):
        raise UserError(f"{file}: '{key}: {entry}' does not exist (looked for {path}); correct it or the key 'path'")
    return path


def _with_own_separators(entry: str, *folders: Path) -> str:
    """Give a path, that of Windows too, unless something in one of the folders has that very name."""
    if "\\" in entry and not any(is_there(os.path.abspath(folder / entry)) for folder in folders):
        return entry.replace("\\", "/")
    return entry


def _resolve_image_roots(value: Any, data: dict[str, Any], root: Path, file: Path, needed: set[str]) -> dict[str, str]:
    """Give the folder of the images by what the splits name, from the key `images`: one folder, or one per split."""
    by_split = value if isinstance(value, dict) else dict.fromkeys(SPLITS, value)
    roots: dict[str, str] = {}
    for split, entry in by_split.items():
        if split not in SPLITS:
            raise UserError(
                f"{file}: 'images' has {shown(split)}; write a folder, or one for each of {', '.join(SPLITS)}"
            )
        folder = _resolve(entry, "images", "images: images", root, file, must_exist=split in needed)
        for source in _entries({split: data.get(split)}):
            if source is not None and roots.setdefault(source, folder) != folder:
                raise UserError(f"{file}: 'images' gives {source} two folders; name each in one split only")
    return roots
