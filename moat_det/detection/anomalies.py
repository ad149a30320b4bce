"""How unlike good parts an image is: what of it goes into files."""

from __future__ import annotations

from dataclasses import dataclass

GOOD, UNLIKE = "good", "unlike"


@dataclass(frozen=True)
class Anomaly:
    """How unlike good parts an image is.

    Attributes:
        score: Of its most unlike place; 1 is the highest of good parts that were held out.
        x: Column of that place, in pixels of the file.
        y: Its row.
    """

    score: float
    x: int
    y: int

    @property
    def looks(self) -> str:
        """What it looks like: "good" or "unlike"."""
        return UNLIKE if self.score > 1 else GOOD
