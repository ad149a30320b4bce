"""Images that lie beside COCO JSONs and that nothing in a dataset names."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress

from moat_det.data.formats.coco import CocoSource
from moat_det.data.formats.faults import AnnotationError, refuse
from moat_det.data.images.find import find_files, is_image, walk
from moat_det.data.index.cache import VERSION, cache_file, files_state, is_settled
from moat_det.errors import UserError
from moat_det.files import atomic_write_json


def unlisted_images(folders: Iterable[str], listed: Collection[str]) -> Iterator[str]:
    """Give the images in folders and their sub-folders that are not among `listed`, absolute, each once, sorted."""
    yield from sorted({file for folder in folders for file in walk(folder) if is_image(file)} - set(listed))


def unlisted_beside(
    source: CocoSource, images: Sequence[str], entries: Sequence[str] = (), root: str | None = None
) -> list[str]:
    """Give the images that lie in the folders of a JSON's images and that nothing in its dataset names.

    Args:
        source: The JSON; one that names its images by absolute paths has no folder of theirs. It and its siblings are
            read only where there are other images than the known ones, and once.
        images: Some or all of those of its split, absolute.
        entries: What all splits of the dataset name, absolute: JSONs, which the siblings are, folders and lists.
        root: The dataset's folder, for lists.
    """
    if source.image_root is not None and _is_whole_disk(source.image_root):
        return []
    folders = {os.path.dirname(image) for image in images} if source.image_root is None else {source.image_root}
    left = set(unlisted_images(folders, images))
    jsons = {sibling.file: sibling for sibling in (source, *source.siblings)}
    for sibling in jsons.values():
        left = left and left - set(_listed(sibling))
    for entry in sorted(set(entries) - jsons.keys()) if left else ():
        with suppress(FileNotFoundError, UserError):  # it is told where that split is read
            left -= set(find_files(entry, root).images)
    return sorted(left)


def _is_whole_disk(folder: str) -> bool:
    """Whether a folder is the root of a file system: a JSON that has it names its images by absolute paths."""
    return os.path.dirname(folder) == folder


def _listed(source: CocoSource) -> list[str]:
    """Give the images that a JSON lists, kept in the user's cache; none where it is not there, or not in order."""
    started = time.time()
    place = cache_file("listed", VERSION, source.file, source.image_root).with_suffix(".json")
    state, newest = files_state([source.file])
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(place.read_text(encoding="utf-8"))
        if kept["state"] == state:
            return [os.fsdecode(image) for image in kept["images"]]
    try:
        images = [record.image for record in source.records(refuse)]
    except AnnotationError:
        return []
    if is_settled(newest, started):
        with suppress(OSError, UnicodeEncodeError):
            atomic_write_json(place, {"state": state, "images": images})
    return images
