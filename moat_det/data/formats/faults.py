"""What is wrong with an annotation: one error for it, and who decides whether to go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from moat_det.errors import UserError


class AnnotationError(UserError):
    """A thing in an annotation that no box can be made of.

    The parser of a row or an entry raises it, the reader of the file adds where that stands and hands it to `OnFault`.

    Attributes:
        problem: What is wrong, and the way out.
        kind: Its kind, a key of the dataset check's `KINDS`.
        file: The annotation file.
        place: Where in the file, such as "line 3"; empty for the whole of it.
        image: The image whose annotation it is, where that is known.
    """

    def __init__(
        self, problem: str, kind: str = "malformed_label", file: str = "", place: str = "", image: str | None = None
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.kind = kind
        self.file = file
        self.place = place
        self.image = image

    def at(self, file: str, place: str = "", image: str | None = None) -> AnnotationError:
        """Say where it stands; gives the error itself."""
        self.file, self.place, self.image = file, place, image
        return self

    @property
    def detail(self) -> str:
        """The place in the file and the problem."""
        return f"{self.place}: {self.problem}" if self.place else self.problem

    def __str__(self) -> str:
        """Give the file, the place and the problem."""
        return f"{self.file}{', ' if self.place.startswith('line ') else ': '}{self.detail}"


OnFault = Callable[[AnnotationError], None]
"""What a reader does with a fault: it goes on with the next row or entry where this returns."""


def refuse(error: AnnotationError) -> NoReturn:
    """Stop at the first fault, as training does."""
    raise error


def pass_over(error: AnnotationError) -> None:
    """Go on without a word, where another reader tells the fault."""
