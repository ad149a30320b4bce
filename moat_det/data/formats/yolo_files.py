"""Where the YOLO label files of images are: by the same rule on every file system."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

from moat_det.data.images.find import is_image, walk
from moat_det.data.images.suffixes import ARRAY_SUFFIX
from moat_det.errors import UserError

_IMAGES, _LABELS = "images", "labels"
_SUFFIX = ".txt"


def label_places(image: str) -> tuple[str, ...]:
    """Give the places where the label file of an image may be, the first one that exists counts.

    The last folder `images` of its path becomes `labels`, in the same case; else the file lies beside the image. These
    are the names to write; `find_labels` takes files and folders of another case too.

    Args:
        image: The image's absolute path.
    """
    beside = os.path.splitext(image)[0] + _SUFFIX
    partner = _partner(os.path.dirname(image), _IMAGES, _LABELS)
    return (beside,) if partner is None else (os.path.join(partner, os.path.basename(beside)), beside)


def find_labels(images: Sequence[str]) -> dict[str, str | None]:
    """Find the label files of images, each folder being read once.

    Suffix and folders may be of any case. So may the name, as file systems differ in whether it matters, where neither
    another image nor another label file has it.

    Args:
        images: Absolute paths.

    Returns:
        By image, in the same order, the label file; None where there is none.
    """
    folders = _Folders()
    labels = {image: folders.find(image, same_case=True) for image in images}
    used = set(labels.values())
    left = {image: folders.find(image, same_case=False) for image, label in labels.items() if label is None}
    claims = Counter(left.values())
    return labels | {image: label for image, label in left.items() if label not in used and claims[label] == 1}


def find_label(image: str) -> str | None:
    """Find the label file of one image, as `find_labels` does."""
    return find_labels([image])[image]


def unused_texts(labels: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    """Find the texts in the folders of labels that are those of no image, asked about or not.

    Args:
        labels: The label files by image, as `find_labels` gives them.

    Yields:
        Each text, and one of the images through which its folder was looked at.
    """
    folders, places = _Folders(), dict[str, str]()
    for image, label in labels.items():
        first, beside = label_places(image)[0], os.path.dirname(image)
        if (folder := folders.resolve(os.path.dirname(first))) is not None:
            places.setdefault(folder, image)
        if label is not None and os.path.dirname(label) == beside:
            places.setdefault(beside, image)
    stems = cache(_images_by_stem)
    used, seen = set(labels.values()), set[str]()
    for folder, image in places.items():
        for file in sorted(walk(folder)):
            if not file.lower().endswith(_SUFFIX) or file in used or file in seen:
                continue
            seen.add(file)
            place, stem = os.path.dirname(file), _fold(os.path.splitext(os.path.basename(file))[0])
            partner = _partner(place, _LABELS, _IMAGES)
            images = None if partner is None else folders.resolve(partner)
            owners = [*stems(place).get(stem, ()), *(stems(images).get(stem, ()) if images else ())]
            if not set(owners) - labels.keys():
                yield file, image


class _Folders:
    """Folders and their text files, by names in which case does not count."""

    def __init__(self) -> None:
        self.resolve: Callable[[str], str | None] = cache(self._resolve)
        self._texts = cache(_list_texts)

    def find(self, image: str, same_case: bool) -> str | None:
        """Give the label file of an image, whose name is its own or, without `same_case`, one of another case."""
        for place in label_places(image):
            wanted, name = os.path.split(place)
            folder = self.resolve(wanted)
            names = [] if folder is None else self._texts(folder).get(_fold(name), [])
            stem = name[: -len(_SUFFIX)]
            fitting = [found for found in names if not same_case or found[: -len(_SUFFIX)] == stem]
            if folder is not None and fitting:
                return os.path.join(folder, name if name in fitting else fitting[0])
        return None

    def _resolve(self, folder: str) -> str | None:
        """Give the folder that is there: of this name, or else of one in another case."""
        try:
            if stat.S_ISDIR(os.stat(folder).st_mode):
                return folder
        except PermissionError as error:
            raise _unreadable(folder, error) from error
        except (OSError, ValueError):  # it is not there, or of no name that a folder may have
            pass
        above, name = os.path.split(folder)
        parent = self.resolve(above) if above != folder else None
        if parent is None:
            return None
        found = sorted(entry for entry in _list(parent) if _fold(entry) == _fold(name))
        return next((place for entry in found if os.path.isdir(place := os.path.join(parent, entry))), None)


def _partner(folder: str, name: str, other: str) -> str | None:
    """Give a folder's path with the last part called `name`, in any case, called `other` in that case."""
    parts = folder.split(os.sep)
    for position in range(len(parts) - 1, -1, -1):
        if parts[position].lower() == name:
            cases = {name: other, name.upper(): other.upper(), name.capitalize(): other.capitalize()}
            parts[position] = cases.get(parts[position], other)
            return os.sep.join(parts)
    return None


def _list_texts(folder: str) -> dict[str, list[str]]:
    """Give the names of a folder's label files, by folded name; also of links to nothing, whose labels are lost."""
    names: dict[str, list[str]] = defaultdict(list)
    try:
        entries = sorted(os.listdir(folder))
    except PermissionError as error:  # where there may be labels: the images are no good parts
        raise _unreadable(folder, error) from error
    except OSError:
        return names
    for name in entries:
        if name.lower().endswith(_SUFFIX) and not os.path.isdir(os.path.join(folder, name)):
            names[_fold(name)].append(name)
    return names


def _images_by_stem(folder: str) -> dict[str, list[str]]:
    """Give the images of a folder by their folded names without suffix."""
    images: dict[str, list[str]] = defaultdict(list)
    for name in _list(folder):
        if is_image(name) or name.lower().endswith(ARRAY_SUFFIX):
            images[_fold(os.path.splitext(name)[0])].append(os.path.join(folder, name))
    return images


def _list(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _unreadable(folder: str, error: OSError) -> UserError:
    return UserError(f"{folder}: the labels in it cannot be read ({error.strerror}); check its permissions")


def _fold(name: str) -> str:
    """Give a name without case; file systems also differ in how they write an accent."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()
