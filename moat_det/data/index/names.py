"""The names of a COCO JSON's classes, kept in the user's cache: reading a large JSON takes seconds."""

from __future__ import annotations

import json
import time
from contextlib import suppress

from moat_det.data.formats.coco import coco_names
from moat_det.data.index.cache import VERSION, cache_file, files_state, is_settled
from moat_det.files import atomic_write_json


def json_names(file: str, *others: str) -> list[str]:
    """Give the names of a COCO JSON's categories, in the order of their ids, as `coco_names` does.

    Args:
        file: The JSON, absolute.
        others: The dataset's other JSONs, absolute.

    Raises:
        UserError: It is no COCO JSON, or has no categories, or two of one name.
    """
    started = time.time()
    place = cache_file("names", VERSION, file, *others).with_suffix(".json")
    state, newest = files_state([file, *others])
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(place.read_text(encoding="utf-8"))
        if kept["state"] == state:
            return [str(name) for name in kept["names"]]
    names = coco_names(file, others)
    if is_settled(newest, started):
        with suppress(OSError):
            atomic_write_json(place, {"state": state, "names": names})
    return names
