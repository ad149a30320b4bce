"""Detection in shards: each process takes images of its own, and goes on where it was stopped."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from moat_det.detection.detections import Detections
from moat_det.detection.output_names import OutputNames
from moat_det.errors import UserError
from moat_det.evaluation.ground_truth import written_corners
from moat_det.files import atomic_write_json

logger = logging.getLogger(__name__)

DETECTIONS = "detections.jsonl"
SETTINGS = "shard.json"

SHARD = "detect in part I of N of the images alone, into a folder of its own; started again it goes on"
"""What the option is for."""

_COLUMNS = ("class", "name", "score", "x1", "y1", "x2", "y2")


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

    def folder(self, name: str) -> str:
        """Give what the folder of this part of a run is called: the same at every start."""
        return f"{name}-{self.number}-of-{self.of}"

    def has(self, name: str) -> bool:
        """Whether an image is in this part: by a digest of its path below the source, so the same on every machine."""
        digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.of == self.number - 1


class ShardRecord:
    """The images of a shard that are done: `detections.jsonl` has a line for each, with what was found in it.

    A line holds `file_name`, the path below the source, and `detections`, each with `class`, `name`, `score`, and the
    corners `x1`, `y1`, `x2`, `y2` in pixels of the file; and `outputs`, what pictures and labels are called, where that
    is not the path without its suffix.

    Attributes:
        done: What the outputs of each image are called, by its `file_name`.

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

    def left(self, shard: Shard, images: Sequence[str], names: OutputNames) -> list[str]:
        """Give the images that are to be detected in, and say how many there are.

        Args:
            shard: Whose images.
            images: All of the source.
            names: What their outputs are called: by all images, so that every shard, and every start of one, names
                them alike.
        """
        before = [image for image in images if names.relative(image) in self.done]
        for image in before:
            names.keep(image, self.done[names.relative(image)])
        for image in images:
            names.base(image)
        own = [image for image in images if shard.has(names.relative(image))]
        left = [image for image in own if names.relative(image) not in self.done]
        logger.info(
            f"shard {shard}: {len(own)} of {len(images)} images, {len(own) - len(left)} of them done before; "
            f"{self._file.name}"
        )
        return left

    def add(self, found: Detections, image: str, names: OutputNames) -> None:
        """Say that an image is done, all of whose other files are written."""
        line: dict[str, Any] = {"file_name": names.relative(image)}
        if names.base(image) != _plain(line["file_name"]):
            line["outputs"] = names.base(image)
        rows = zip(found.cls.tolist(), found.classes, found.score.tolist(), _corners(found), strict=True)
        line["detections"] = [dict(zip(_COLUMNS, (*row, *box), strict=True)) for *row, box in rows]
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Let another process go on."""
        self._file.close()
        self._lock.release()


def check_alone(shard: str | None, others: Mapping[str, object]) -> None:
    """Check the options beside `--shard`.

    Args:
        shard: The option.
        others: The values of those that it excludes, by name.

    Raises:
        UserError: It is none, or another is given.
    """
    if shard is None:
        return
    Shard.read(shard)
    given = {name for name, value in others.items() if value}
    if "heatmap" in given:
        raise UserError(f"--shard {shard}: its lines have no room for --heatmap; leave one of the two out")
    if "operating_point" in given:
        raise UserError(
            f"--shard {shard}: with --operating-point the images of a part may lie in several shards; leave one of the "
            "two out"
        )
    for name in sorted(given):
        raise UserError(
            f"--{name.replace('_', '-')}: with --shard the detections are in {DETECTIONS}, a line for each image; "
            "leave one of the two out"
        )


def _plain(name: str) -> str:
    return os.path.splitext(name)[0]


def _corners(found: Detections) -> list[list[float]]:
    corners: list[list[float]] = written_corners(found.xyxy).tolist()
    return corners


def _check_settings(file: Path, settings: Mapping[str, Any]) -> None:
    own = json.loads(json.dumps(settings))
    if not file.exists():
        atomic_write_json(file, own, indent=2)
        return
    try:
        before = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        raise UserError(f"{file}: is damaged; begin the shard anew with another --name") from None
    for name in {**before, **own}:
        if before.get(name) != own.get(name):
            raise UserError(
                f"{file.parent}: this shard was begun with {name} {before.get(name)}, and is now to have "
                f"{own.get(name)}: "
                "go on with the same, or begin anew with another --name"
            )


def _whole_lines(file: Path) -> dict[str, str]:
    """Give the images that a file has lines of, and what each is called; cut off what a killed process left of one."""
    if not file.exists():
        return {}
    content = file.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(file, whole)
    try:
        lines = [json.loads(line) for line in content[:whole].splitlines()]
        return {line["file_name"]: line.get("outputs", _plain(line["file_name"])) for line in lines}
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{file}: is damaged; begin the shard anew with another --name") from None
