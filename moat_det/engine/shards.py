"""Detection in shards: each process takes images of its own, and goes on where it was stopped."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from ultralytics.engine.results import Results

from moat_det.errors import UserError
from moat_det.evaluation.ground_truth import written_corners
from moat_det.files import atomic_write_json

DETECTIONS = "detections.jsonl"
SETTINGS = "shard.json"


@dataclass(frozen=True)
class Shard:
    """One of several parts of a source's images.

    Attributes:
        number: Which one, from 1.
        of: How many there are.
    """

    number: int
    of: int

    @classmethod
    def read(cls, text: str) -> Shard:
        """Read "2/8".

        Raises:
            UserError: It is none.
        """
        found = re.fullmatch(r"([0-9]+)/([0-9]+)", str(text).strip())
        shard = cls(*map(int, found.groups())) if found else cls(0, 0)
        if not 1 <= shard.number <= shard.of:
            raise UserError(f"--shard {text}: must be I/N, such as 2/8, the second of eight")
        return shard

    def __str__(self) -> str:
        """Give what `read` reads."""
        return f"{self.number}/{self.of}"

    def has(self, name: str) -> bool:
        """Whether an image is in this part: by a digest of its path below the source, so the same on every machine."""
        digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.of == self.number - 1


class ShardRecord:
    """The images of a shard that are done: `detections.jsonl` has a line for each, with what was found in it.

    A line holds `file_name`, the path below the source, and `detections`, each with `class`, `name`, `score`, and the
    corners `x1`, `y1`, `x2`, `y2` in pixels of the file.

    Attributes:
        done: The images by `file_name`.

    Args:
        folder: Of the shard; it is there.
        settings: What the detections depend on: a shard goes on with the same alone.

    Raises:
        UserError: The folder is of other settings, or another process is at work in it.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._lock = FileLock(folder / "shard.lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UserError(f"{folder}: another process is at work on this shard; let it end, or end it") from None
        try:
            _check_settings(folder / SETTINGS, settings)
            self.done = _whole_lines(folder / DETECTIONS)
            self._file = (folder / DETECTIONS).open("a", encoding="utf-8")
        except BaseException:
            self._lock.release()
            raise

    def add(self, result: Results, name: str) -> None:
        """Say that an image is done, all of whose other files are written."""
        boxes = result.boxes.cpu().numpy() if result.boxes is not None else []
        found = [
            {
                "class": int(box.cls[0]),
                "name": result.names[int(box.cls[0])],
                "score": float(box.conf[0]),
                **dict(zip(("x1", "y1", "x2", "y2"), written_corners(box.xyxy)[0].tolist(), strict=True)),
            }
            for box in boxes
        ]
        self._file.write(json.dumps({"file_name": name, "detections": found}, ensure_ascii=True) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Let another process go on."""
        self._file.close()
        self._lock.release()


def _check_settings(file: Path, settings: Mapping[str, Any]) -> None:
    own = json.loads(json.dumps(settings))
    if not file.exists():
        atomic_write_json(file, own, indent=2)
        return
    try:
        before = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        raise UserError(f"{file}: is damaged; begin the shard anew with another --name") from None
    for name, value in own.items():
        if before.get(name) != value:
            raise UserError(
                f"{file.parent}: this shard was begun with {name} {before.get(name)}, and is now to have {value}: "
                "go on with the same, or begin anew with another --name"
            )


def _whole_lines(file: Path) -> frozenset[str]:
    """Give the images that a file has lines of, and cut off what a process that was killed left of one."""
    if not file.exists():
        return frozenset()
    content = file.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(file, whole)
    try:
        return frozenset(json.loads(line)["file_name"] for line in content[:whole].splitlines())
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{file}: is damaged; begin the shard anew with another --name") from None
