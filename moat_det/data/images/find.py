"""Finding the files that a folder, a pattern, a list or a path names: by the same rules for every command."""

from __future__ import annotations

import csv
import glob
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from moat_det.data.images.suffixes import ARRAY_SUFFIX, IMAGE_SUFFIXES, VIDEO_SUFFIXES
from moat_det.errors import UserError
from moat_det.messages import some
from moat_det.paths import is_yaml
from moat_det.text import SAVE_AS_UTF_8, NotTextError, read_text

logger = logging.getLogger(__name__)

_QUOTES = "\"'"
_SHOWN_SUFFIXES = 8


@dataclass
class FoundFiles:
    """What sources name, each file an absolute path.

    Attributes:
        images: By their suffixes. Those that a list names need not exist.
        videos: By their suffixes.
        others: Neither; left out.
        folders: Those that a pattern matches, whose files it does not match; left out.
    """

    images: list[str] = field(default_factory=list)
    videos: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)

    @property
    def left_out(self) -> str:
        """Of what kinds the files are that are left out, and which folders; empty where nothing is."""
        folders = f"{len(self.folders)} folder(s) such as {self.folders[0]}" if self.folders else ""
        return " and ".join(filter(None, (count_suffixes(self.others), folders)))

    def add_matches(self, path: str, named: bool) -> bool:
        """Add the files that a path, absolute, stands for; gives whether there is anything.

        A folder stands for all in it, and so do those that a pattern matches where it matches no file.
        """
        places = [path] if os.path.exists(path) else sorted(_expand(path))
        files = [place for place in places if not os.path.isdir(place)]
        folders = [place.rstrip(os.sep) for place in places if os.path.isdir(place)]
        if files:
            seen = {str(folder) for file in files for folder in Path(file).parents}
            self.folders += [folder for folder in folders if folder not in seen and any(walk(folder))]
        else:
            files = sorted({file for folder in folders for file in walk(folder)})
        for file in _each_where_it_lies(files):
            self.add(file, named)
        return bool(places)

    def add(self, path: str, named: bool) -> None:
        """Add a file; an array counts where it is named, as one in a folder may be anything."""
        suffix = os.path.splitext(path)[1].lower()
        if suffix[1:] in IMAGE_SUFFIXES or (named and suffix == ARRAY_SUFFIX):
            self.images.append(path)
        elif suffix[1:] in VIDEO_SUFFIXES:
            self.videos.append(path)
        else:
            self.others.append(path)


def find_split(source: str | Path | Iterable[str | Path], root: str | None = None) -> FoundFiles:
    """Find the files that a split of a dataset names, as `find_files` does; what a list names need not exist.

    Args:
        source: What `find_files` takes, or several of these.
        root: The dataset's folder.

    Raises:
        UserError: There is no such file, or it is no text, or holds no image.
    """
    found = FoundFiles()
    for item in [source] if isinstance(source, (str, Path)) else source:
        path = os.path.abspath(item)
        if not is_there(path):
            raise UserError(f"{path}: no such folder or list of images; correct the path in the dataset YAML")
        part = find_files(path, root)
        if not part.images:
            part.others += part.videos
            left = f" (left out: {part.left_out})" if part.left_out else ""
            formats = ", ".join(sorted(IMAGE_SUFFIXES))
            raise UserError(f"{path}: no images in it{left}; put files there that end in one of {formats}")
        found.images += part.images
        found.videos += part.videos
        found.others += part.others
        found.folders += part.folders
    return found


def find_files(source: str | Path, root: str | None = None) -> FoundFiles:
    """Find the files that a source names.

    Args:
        source: A folder, searched with its sub-folders but without hidden files; a pattern; a list, as
            `read_list` reads it; or a file.
        root: The dataset's folder, for lists.

    Raises:
        FileNotFoundError: There is no such file.
        UserError: A list is no text, or the source is the file of a dataset.
    """
    path, found = os.path.abspath(source), FoundFiles()
    if os.path.isfile(path) and not is_image(path) and _is_list(path):
        if is_yaml(path) or path.lower().endswith((".json", ".xml")):
            raise UserError(f"{source}: is a dataset or its labels, no list of images; give the folder of its images")
        for entry in read_list(path, root):
            if not found.add_matches(entry, named=not os.path.isdir(entry)):
                found.add(entry, named=True)
        for files in (found.images, found.videos, found.others):
            files[:] = dict.fromkeys(files)  # a folder and a file in it may both be entries
        return found
    if not found.add_matches(path, named=str(source).lower().endswith(ARRAY_SUFFIX)) and "*" not in path:
        raise FileNotFoundError(f"{source} does not exist")
    return found


def is_there(path: str) -> bool:
    """Whether a path, absolute, is that of a file or a folder, or a pattern that matches one."""
    return os.path.exists(path) or bool(_expand(path))


def _expand(pattern: str) -> list[str]:
    """Give the files and folders that a pattern matches; brackets may be those of a name."""
    if not any(mark in pattern for mark in "*?["):
        return []
    try:
        return glob.glob(pattern, recursive=True) or glob.glob(pattern.replace("[", "[[]"), recursive=True)
    except ValueError:  # no name that a file may have
        return []


def count_suffixes(files: Iterable[str]) -> str:
    """Say of what kinds files are: "3 .txt, 1 without suffix"."""
    counts = Counter(os.path.splitext(file)[1].lower() or "without suffix" for file in files)
    return some([f"{count} {suffix}" for suffix, count in counts.most_common()], _SHOWN_SUFFIXES)


def is_image(path: str | Path) -> bool:
    """Whether a file's name ends as that of an image."""
    return os.path.splitext(path)[1][1:].lower() in IMAGE_SUFFIXES


def walk(folder: str | Path) -> Iterator[str]:
    """Give the files in a folder and its sub-folders, without hidden ones, each under one path.

    A link to a folder is followed, unless it leads back up or to what is gone through where it lies: labels lie beside
    the folder and not beside the link. Such a link is said, as is a sub-folder that may not be read.

    Raises:
        UserError: The folder itself may not be read.
    """

    def skip(error: OSError) -> None:
        if isinstance(error, FileNotFoundError):  # it went away meanwhile
            return
        if os.path.abspath(error.filename) == os.path.abspath(folder):
            raise UserError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from error
        _tell_left_out(error.filename, error.strerror)

    visited: set[str] = set()
    trees = [os.path.realpath(folder)]
    for root, folders, files in os.walk(folder, onerror=skip, followlinks=True):
        real = os.path.realpath(root)
        if real in visited:  # within what a link before led to
            _tell_not_followed(root, f"{real} has been looked through already")
            folders.clear()
            continue
        visited.add(real)
        # In order, so that which of two links counts is the same on every machine.
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for link in (os.path.join(root, name) for name in list(folders)):
            if not os.path.islink(link):
                continue
            target = os.path.realpath(link)
            if any(_holds(tree, target) for tree in trees):
                _tell_not_followed(link, f"{target} is looked through where it lies")
            elif _is_above(target, trees[0]) or _is_above(target, real):
                _tell_not_followed(link, f"{target} holds the folder that is looked through")
            else:
                trees.append(target)
                continue
            folders.remove(os.path.basename(link))
        yield from (os.path.join(root, name) for name in files if not name.startswith("."))


def _each_where_it_lies(files: Sequence[str]) -> list[str]:
    """Leave out what a pattern has found behind a link to a folder and where it lies too, as `walk` does.

    A link to a file stays, in a folder as in a pattern: it has a name, and labels, of its own.
    """
    lies = {folder: os.path.realpath(folder) for folder in {os.path.dirname(file) for file in files}}
    links = {folder: sum(map(os.path.islink, Path(folder, "_").parents)) for folder in lies}
    ways: dict[str, str] = {}  # the one with the fewest links to each file
    for file in sorted(files, key=lambda file: (links[os.path.dirname(file)], file)):
        folder, name = os.path.split(file)
        ways.setdefault(os.path.join(lies[folder], name), file)
    kept = set(ways.values())
    for folder in sorted({os.path.dirname(file) for file in files if file not in kept}):
        _tell_not_followed(folder, f"{lies[folder]} is looked through where it lies")
    return [file for file in files if file in kept]


def _is_above(folder: str, other: str) -> bool:
    return os.path.join(other, "").startswith(os.path.join(folder, ""))


def _holds(tree: str, folder: str) -> bool:
    """Whether going through a tree of folders, without hidden ones, comes by one; both real paths."""
    return _is_above(tree, folder) and not any(part.startswith(".") for part in Path(folder).relative_to(tree).parts)


@cache  # a folder is looked through more than once
def _tell_not_followed(link: str, reason: str) -> None:
    logger.info(f"{link}: not followed, as {reason}")


@cache  # likewise
def _tell_left_out(folder: str, reason: str) -> None:
    logger.warning(f"{folder}: left out, since it cannot be read ({reason}); check its permissions")


def read_list(path: str, root: str | None = None) -> list[str]:
    """Read a list of files: a text with one on each line, or the cells of a CSV with or without the heading "source".

    An entry is relative to the list's folder, else to the dataset's, else to the working folder; either separator will
    do, and quotes are taken off.

    Args:
        path: The list, absolute.
        root: The dataset's folder; where it is not known, each folder above the list may be it, the nearest first.

    Returns:
        Absolute paths, sorted, each once; what is nowhere is given beside the list.

    Raises:
        UserError: It is no text.
    """
    try:
        lines = read_text(path).splitlines()
    except NotTextError as error:
        raise UserError(
            f"{path}: neither an image nor a UTF-8 list of image paths ({error}); {SAVE_AS_UTF_8}, or correct the path"
        ) from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    if path.lower().endswith(".csv"):
        rows = list(csv.reader(lines))
        lines = [cell for row in rows[rows[:1] == [["source"]] :] for cell in row]
    beside = os.path.dirname(path)
    roots = [root] if root else [str(folder) for folder in Path(beside).parents]
    folders = list(dict.fromkeys([beside, *roots, os.getcwd()]))
    entries = (line.strip().strip(_QUOTES).strip() for line in lines)
    return sorted({_locate(entry, folders) for entry in entries if entry})


def _locate(entry: str, folders: Sequence[str]) -> str:
    forms = (entry, entry.replace("\\", "/")) if "\\" in entry else (entry,)
    places = [os.path.normpath(os.path.join(folder, form)) for form in forms for folder in folders]
    # Patterns in a list need a `*`: to look for each name with brackets among all others would take long.
    there = (place for place in places if os.path.exists(place) or ("*" in place and is_there(place)))
    return next(there, places[-len(folders)])


def _is_list(path: str) -> bool:
    """Whether a file that is no image may be a list: neither a video nor an array."""
    suffix = os.path.splitext(path)[1].lower()
    return suffix[1:] not in VIDEO_SUFFIXES and suffix != ARRAY_SUFFIX
