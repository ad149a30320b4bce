"""What every annotation format gives: which images a source names, and how the boxes of each are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from moat_det.data.formats.boxes import Labels
from moat_det.data.images.header import ImageHeader
from moat_det.errors import UserError
from moat_det.messages import suggest


@dataclass(frozen=True)
class Record:
    """One image of a source.

    Attributes:
        image: Absolute path, which need not exist.
        read: Gives the image's boxes, once its size is known; raises `UserError`.
        files: The annotation files of this image alone, absolute; a place where one is looked for counts too.
    """

    image: str
    read: Callable[[ImageHeader], Labels]
    files: tuple[str, ...] = ()


class Source(Protocol):
    """A part of a split in one format.

    Attributes:
        format: "yolo", "coco" or "voc".
    """

    format: str

    def listing(self) -> Sequence[str]:
        """The files that are found without opening one, absolute: one more or one less makes another split."""
        ...

    def records(self) -> list[Record]:
        """The images, in any order.

        Raises:
            UserError: An annotation file cannot be understood; the message names it and the place in it.
        """
        ...


class ClassIds:
    """From the names of classes to their ids.

    Args:
        names: Class id to name; None where classes do not matter: every name is class 0.
    """

    def __init__(self, names: Mapping[int, str] | None) -> None:
        self._ids = None if names is None else {name: index for index, name in names.items()}

    def of(self, name: str, where: str) -> int:
        """Give the id of a class; `UserError` starting with `where` if the dataset has no such name."""
        if self._ids is None:
            return 0
        try:
            return self._ids[name.strip()]
        except KeyError:
            raise UserError(
                f"{where}: the class {name[:60]!r} is not among the dataset's {len(self._ids)} names"
                f"{suggest(name, self._ids)}; add it to 'names' in the YAML, or correct it"
            ) from None
