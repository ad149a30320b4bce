"""The dataset YAML: reading, checking and resolving it. Nothing is downloaded, run or written."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from ultralytics.utils import LOGGER

from moat_det.errors import UserError

SPLITS = ("train", "val", "test")
_SUFFIXES = (".yaml", ".yml")
_EMPTY: tuple[Any, ...] = (None, "", [], {})
_EXAMPLES = {"train": "train: images/train", "val": "val: images/val", "names": "names: [scratch, pit]"}


def load_dataset(source: str | Path, split: str | None = None) -> dict[str, Any]:
    """Read a dataset YAML into what the engine calls `data`.

    Args:
        source: A YAML file, a folder that holds one, or "demo" for the project's own generated set.
        split: The split that the caller needs; None for training, which needs `train` and `val`. What another
            split names may be missing from this machine.

    Returns:
        `path` (the root), `train`, `val`, `test` (only those given; absolute path or list of them), `names`
        ({0: "scratch", ...}), `nc` (their number), `channels` (3) and `yaml_file`.

    Raises:
        UserError: The file or one of its keys is missing or wrong; the message names both and the way out.
    """
    file = _find_yaml(source)
    content = _read_yaml(file)
    if "val" not in content and "validation" in content:
        content["val"] = content.pop("validation")
    for key in ("train", "val", "names"):
        if content.get(key) in _EMPTY:
            raise UserError(
                f"{file}: the key '{key}' is missing or empty{_suggest(key, content)}; add '{_EXAMPLES[key]}'"
            )
    names = _check_names(content["names"], file)
    _check_counts(content, len(names), file)
    if content.get("download"):
        LOGGER.info(f"{file}: the key 'download' is ignored, nothing is downloaded or run")

    root = _find_root(content.get("path"), file)
    data: dict[str, Any] = {"path": str(root)}
    needed = {split} if split else {"train", "val"}
    for key in SPLITS:
        if content.get(key) not in _EMPTY:
            data[key] = _resolve_split(content[key], key, root, file, must_exist=key in needed)
    if split and split not in data:
        given = ", ".join(key for key in SPLITS if key in data)
        raise UserError(f"{file}: no split '{split}' in it; add the key '{split}' or use one of {given}")
    return data | {"names": names, "nc": len(names), "channels": 3, "yaml_file": str(file)}


def _suggest(word: str, choices: Iterable[Any]) -> str:
    close = difflib.get_close_matches(word, [str(choice) for choice in choices], n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def _find_yaml(source: str | Path) -> Path:
    if str(source) == "demo":
        from moat_det.data.demo import demo_dataset

        return Path(demo_dataset())
    path = Path(os.path.abspath(Path(source).expanduser()))
    if path.is_file():
        return path
    if path.is_dir():
        files = _yaml_files(path)
        if path / "data.yaml" in files:
            return path / "data.yaml"
        if not files:
            raise UserError(f"{path}: no dataset YAML in this folder; give the path of one (--data demo needs none)")
        if len(files) > 1:
            raise UserError(f"{path}: {len(files)} YAML files in this folder, give one of {_listing(files)}")
        return files[0]
    if not path.parent.is_dir():
        raise UserError(f"{source}: no such dataset YAML, and no folder {path.parent}; check the path")
    files = _yaml_files(path.parent)
    hint = _suggest(path.name, [file.name for file in files])
    if not hint and files:
        hint = f" (that folder has {_listing(files)})"
    raise UserError(f"{source}: no such dataset YAML in {path.parent}{hint}; check the path, or try --data demo")


def _yaml_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in _SUFFIXES and file.is_file())


def _listing(files: list[Path]) -> str:
    shown = ", ".join(file.name for file in files[:5])
    return f"{shown}, ..." if len(files) > 5 else shown


class _StrictLoader(yaml.SafeLoader):
    """A safe loader that refuses a key given twice, of which PyYAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                problem = f"the key '{key.value}' is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _read_yaml(file: Path) -> dict[Any, Any]:
    try:
        # Safe: the loader derives from SafeLoader.
        content = yaml.load(file.read_text(encoding="utf-8-sig"), Loader=_StrictLoader)
    except (UnicodeDecodeError, yaml.reader.ReaderError) as error:
        raise UserError(f"{file}: not a text file; give the dataset's YAML") from error
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}); check its permissions") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{file}{line}: broken YAML: {error.problem}; correct the line") from error
    if not isinstance(content, dict):
        raise UserError(f"{file}: not a dataset YAML; it needs the keys train, val and names")
    return content


def _check_names(names: Any, file: Path) -> dict[int, str]:
    """Give {0: name, ...} from a list or a mapping of ids to names."""
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict):
        raise UserError(f"{file}: 'names' is {names!r}; write a list, such as {_EXAMPLES['names']}")
    by_id: dict[int, str] = {}
    for key, name in names.items():
        if isinstance(key, bool) or not str(key).strip().isdecimal():
            raise UserError(f"{file}: 'names' has the id {key!r}; write whole numbers from 0 on, such as '0: scratch'")
        if isinstance(name, bool) or not isinstance(name, (str, int, float)) or not str(name).strip():
            raise UserError(f"{file}: 'names' has {name!r} as class {key}; write a name, in quotes: {key}: \"...\"")
        if int(key) in by_id:
            raise UserError(f"{file}: 'names' has the id {int(key)} twice; give each class its own")
        by_id[int(key)] = str(name).strip()
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


def _check_counts(content: dict[Any, Any], num_names: int, file: Path) -> None:
    nc, channels = content.get("nc"), content.get("channels")
    if nc is not None and str(nc).strip() not in {str(num_names), f"{num_names}.0"}:
        raise UserError(f"{file}: 'nc: {nc}' but {num_names} names; correct 'nc' or remove it")
    if channels not in (None, 3):
        raise UserError(
            f"{file}: 'channels: {channels}' is not supported; remove it, gray images are read as 3 channels"
        )


def _find_root(given: Any, file: Path) -> Path:
    """Give the folder that the splits are relative to."""
    if given in (None, ""):
        return file.parent
    if not isinstance(given, str):
        raise UserError(f"{file}: 'path: {given}' is no path; write the dataset's folder or remove the key")
    expanded = Path(given).expanduser()
    candidates = [Path(os.path.abspath(base / expanded)) for base in (file.parent, Path.cwd())]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    looked = " and ".join(dict.fromkeys(map(str, candidates)))
    raise UserError(f"{file}: 'path: {given}' does not exist (looked for {looked}); correct it, or remove the key")


def _resolve_split(value: Any, key: str, root: Path, file: Path, must_exist: bool) -> str | list[str]:
    entries = value if isinstance(value, list) else [value]
    paths = []
    for entry in entries:
        if not isinstance(entry, str) or not entry.strip():
            raise UserError(f"{file}: '{key}' has {entry!r} where a path belongs; write '{key}: images/{key}'")
        # Not `resolve`: labels lie beside the images under the name that the user gave, also behind a link.
        path = Path(os.path.abspath(root / Path(entry).expanduser()))
        if entry.startswith("../") and not path.exists() and (root / entry[3:]).exists():
            path = root / entry[3:]  # some tools export ../train/images where train/images is meant
        if must_exist and not path.exists():
            raise UserError(
                f"{file}: '{key}: {entry}' does not exist (looked for {path}); correct it or the key 'path'"
            )
        paths.append(str(path))
    return paths if isinstance(value, list) else paths[0]
