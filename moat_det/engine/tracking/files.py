"""The defects of a run as files: a row each, and how many there are of each class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moat_det.engine.tracking.tracks import Track, Tracks
from moat_det.files import atomic_write_csv, atomic_write_json

_COLUMNS = ("track", "source", "class", "name", "counted", "frames", "first", "last")
_BEST = ("score", "frame", "file", "x1", "y1", "x2", "y2")


def write_tracks(folder: Path, tracks: Tracks, names: Mapping[int, str]) -> None:
    """Write `tracks.csv` and `tracks.json`.

    Args:
        folder: Where.
        tracks: The defects.
        names: Class index -> name.

    Raises:
        OSError: They cannot be written.
    """
    rows = [_row(track, tracks, names) for track in tracks.tracks]
    atomic_write_csv(folder / "tracks.csv", (*_COLUMNS, *_BEST), rows)
    sources = [
        {"source": source, "frames": frames, "counts": _named(tracks.counts(source), names)}
        for source, frames in tracks.frames.items()
    ]
    content = {
        "tracker": tracks.tracker,
        "min_frames": tracks.min_frames,
        "counts": _named(tracks.counts(), names),
        "sources": sources,
        "tracks": rows,
    }
    atomic_write_json(folder / "tracks.json", content, indent=2)


def _row(track: Track, tracks: Tracks, names: Mapping[int, str]) -> dict[str, Any]:
    label = track.label
    counted = tracks.is_counted(track)
    values = track.number, track.source, label, names[label], counted, track.frames, track.first, track.last
    best = track.score, track.frame, track.file, *track.box
    return dict(zip((*_COLUMNS, *_BEST), (*values, *best), strict=True))


def _named(counts: Counter[int], names: Mapping[int, str]) -> dict[str, int]:
    """Give how many there are of each class, also where there is none."""
    return {names[label]: counts[label] for label in names}
