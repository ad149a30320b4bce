"""What became of a file's weights."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

HEAD = "classification head"
TABLES = "position tables"
STATISTICS = "moving statistics of batch norm"


def part(key: str) -> str | None:
    """Give what a key belongs to that a file or a backbone may be without, as a whole; None for all other weights."""
    if key.startswith(("final_layer_norm.", "logits_head.")):
        return HEAD
    if key.endswith(".relative_position_embedding"):
        return TABLES
    if key.endswith((".running_mean", ".running_var")):
        return STATISTICS
    return None


@dataclass(frozen=True)
class LoadReport:
    """What became of a file's weights, by the keys of our state dicts.

    Attributes:
        source: The file.
        loaded: What the backbone has from the file.
        dropped: What the file holds and the backbone has no place for.
        random: What the file does not hold, so that the backbone keeps its own: in a new one random values, and
            0 and 1 as statistics of batch norm.
        notes: What else is worth knowing.
    """

    source: Path
    loaded: tuple[str, ...]
    dropped: tuple[str, ...]
    random: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def incomplete(self) -> bool:
        """Whether something of the backbone is left at random, or position tables were dropped."""
        return bool(self.random) or TABLES in map(part, self.dropped)

    def lines(self) -> tuple[str, str]:
        """Give what was loaded, and from which file; what was dropped and left at random, and the notes."""
        loaded = f"backbone: {len(self.loaded)} tensors loaded from {self.source}"
        left = f"backbone: dropped {_summary(self.dropped)}; left at random {_summary(self.random)}"
        return loaded, "; ".join((left, *self.notes))


def _summary(keys: tuple[str, ...]) -> str:
    counts = Counter(part(key) for key in keys)
    return ", ".join(f"{name} ({count} tensors)" for name, count in counts.items()) or "nothing"
