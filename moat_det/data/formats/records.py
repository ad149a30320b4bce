"""What every annotation format gives: which images a source names, and how the annotation of each is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from moat_det.data.formats.annotation import Annotation
from moat_det.data.formats.faults import AnnotationError, OnFault
from moat_det.messages import shown, suggest


@dataclass(frozen=True)
class Record:
    """One image of a source.

    Attributes:
        image: Absolute path, which need not exist.
        annotation: The image's annotation, or what reads it and hands its faults to the source's `on_fault`.
        file: The file that has its annotation; None where there is none, which means no boxes.
        places: The annotation files of this image alone, absolute; a place where one is looked for counts too.
    """

    image: str
    annotation: Annotation | Callable[[], Annotation]
    file: str | None = None
    places: tuple[str, ...] = ()

    def read(self) -> Annotation:
        """Give the image's annotation."""
        return self.annotation if isinstance(self.annotation, Annotation) else self.annotation()


class Source(Protocol):
    """A part of a split in one format.

    Attributes:
        format: "yolo", "coco" or "voc".
    """

    format: str

    def listing(self) -> Sequence[str]:
        """Give the files that are found without opening one, absolute: one more or one less makes another split."""
        ...

    def unused(self) -> Sequence[str]:
        """Give the files in the folders that are read of which nothing is used, absolute, sorted."""
        ...

    def records(self, on_fault: OnFault) -> list[Record]:
        """Give the images, in any order.

        Args:
            on_fault: Gets each thing that cannot be understood. Where it returns, the row or entry is left out, and
                what remains is read: `refuse` stops training at the first fault, the dataset check collects them.
        """
        ...


class ClassIds:
    """From the names of classes to their ids.

    Args:
        names: Class id to name; None where classes do not matter: every name is class 0.
    """

    def __init__(self, names: Mapping[int, str] | None) -> None:
        self._ids = None if names is None else {name: index for index, name in names.items()}

    def of(self, name: str) -> int:
        """Give the id of a class; `AnnotationError` if the dataset has no such name."""
        if self._ids is None:
            return 0
        try:
            return self._ids[name.strip()]
        except KeyError:
            raise AnnotationError(
                f"the class {shown(name)} is not among the dataset's {len(self._ids)} names"
                f"{suggest(name, self._ids)}; add it to 'names' in the YAML, or correct it",
                "unknown_class",
            ) from None
