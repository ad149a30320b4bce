"""Count how many of the first suspicions of `moat check-labels` are labels that `tools.spoil_labels` made wrong.

A suspicion is right where its label, or the detection that speaks against it, overlaps the old or new place of a spoilt
label in the same image by half or more.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pycocotools import mask

from moat_det.data.config import SPLITS
from moat_det.data.images.find import walk
from moat_det.errors import UserError
from tools.command import command, make_parser

_IOU = 0.5


def count_right(
    suspicions: Sequence[Mapping[str, Any]], spoilt: Sequence[Mapping[str, Any]]
) -> tuple[list[bool], set[int]]:
    """Say of each suspicion whether it is about a spoilt label, and give the positions of those that were named.

    Both call an image by its path in the copy.
    """
    by_file: dict[str, list[int]] = {}
    for position, label in enumerate(spoilt):
        by_file.setdefault(str(label["file_name"]), []).append(position)
    right, named = [], set()
    for suspicion in suspicions:
        own = [suspicion[key] for key in ("bbox", "other_bbox") if suspicion[key]]
        hit = False
        for position in by_file.get(str(suspicion["file_name"]), []):
            places = [spoilt[position][key] for key in ("bbox", "new_bbox") if key in spoilt[position]]
            if np.max(mask.iou(own, places, [0] * len(places))) >= _IOU:
                hit = True
                named.add(position)
        right.append(hit)
    return right, named


def in_copy(suspicions: Sequence[Mapping[str, Any]], copy: Path, split: str) -> Iterator[dict[str, Any]]:
    """Call the image of each suspicion by its path in the copy, of which a run knows the end.

    Args:
        suspicions: As a run has them.
        copy: The folder `images` of the copy.
        split: That was looked at; empty: any.

    Raises:
        UserError: There are several such images.
    """
    by_name: dict[str, list[str]] = {}
    for file in walk(copy / split):
        by_name.setdefault(Path(file).name, []).append(Path(file).relative_to(copy).as_posix())
    for suspicion in suspicions:
        name = str(suspicion["file_name"])
        fits = [path for path in by_name.get(PurePosixPath(name).name, []) if f"/{path}".endswith(f"/{name}")]
        if len(fits) > 1:
            raise UserError(f"{name}: may be {fits[0]} or {fits[1]} of {copy}; give the --split that was looked at")
        yield {**suspicion, "file_name": fits[0] if fits else name}


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--suspicions", required=True, type=Path, help="suspicious_labels.json of moat check-labels")
    parser.add_argument("--spoilt", required=True, type=Path, help="spoilt.json of the copy")
    parser.add_argument("--top", type=int, nargs="+", default=[50, 100, 200], help="of the first so many suspicions")
    parser.add_argument("--split", choices=SPLITS, default="", help="that was looked at, if others use its names")
    arguments = parser.parse_args(argv)
    found = json.loads(arguments.suspicions.read_text(encoding="utf-8"))["labels"]
    suspicions = list(in_copy(found, arguments.spoilt.parent / "images", arguments.split))
    spoilt = json.loads(arguments.spoilt.read_text(encoding="utf-8"))
    for top in arguments.top:
        right, named = count_right(suspicions[:top], spoilt)
        kinds = Counter(spoilt[position]["kind"] for position in named)
        by_kind = ", ".join(f"{kinds[kind]} {kind}" for kind in sorted(kinds))
        print(
            f"first {len(right)}: {sum(right)} right ({np.mean(right):.0%}); {len(named)} of {len(spoilt)}: {by_kind}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
