"""Opening the index of a split: from the cache, or by reading its files."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from moat_det.data.formats.coco import CocoSource
from moat_det.data.formats.sources import find_sources
from moat_det.data.formats.voc import VocSource
from moat_det.data.index.cache import cache_file, load_index, save_index
from moat_det.data.index.listed import unlisted_beside
from moat_det.data.index.part import choose_part
from moat_det.data.index.scan import collect_records, scan_records
from moat_det.data.index.split import SplitIndex

logger = logging.getLogger(__name__)


def open_index(
    paths: str | Path | Sequence[str | Path],
    names: Mapping[int, str] | None,
    image_roots: Mapping[str, str] | None = None,
    part: int | float = 1.0,
    prefix: str = "",
    root: str | None = None,
    keypoints: int = 0,
    entries: Sequence[str] = (),
) -> SplitIndex:
    """Give the images and boxes that a split of a dataset YAML names, in whichever formats.

    The index is kept in the user's cache (`$MOAT_DET_CACHE`, else `~/.cache/moat_det`) and made anew when a file, a
    name or the list of files changes. Nothing is written into the data.

    Args:
        paths: What the split names: folders of images or lists of them (YOLO), COCO JSONs, folders of VOC XML.
        names: Class id to name; None where classes do not matter.
        image_roots: The folder with the images, by path, for COCO and VOC; where there is none it is looked for.
        part: How many of the images, or which share of them (1.0: all), as `choose_part` takes them.
        prefix: Put before each message.
        root: The dataset's folder, which lists of images may be relative to.
        keypoints: Numbers that may follow the box in a row of a YOLO label.
        entries: What all splits of the dataset name, absolute.

    Raises:
        UserError: A path does not exist, an annotation is malformed, or no image is readable.
    """
    started = time.time()
    sources = find_sources(paths, names, image_roots, root, keypoints, entries)
    formats = sorted({source.format for source in sources})
    listing = [file for source in sources for file in source.listing()]
    given = [paths] if isinstance(paths, (str, Path)) else paths
    classes = sorted(names.items()) if names else None
    place = cache_file(formats, [str(path) for path in given], classes, dict(image_roots or {}), part, root, keypoints)
    index = load_index(place, listing)
    if index is not None:
        logger.info(f"{prefix}index from {place}")
    else:
        everything = collect_records(sources)
        records = choose_part(everything, part)
        index = scan_records(records, formats, prefix)
        used = {record.image for record in everything}
        unnamed = (source.unnamed(used) for source in sources if isinstance(source, VocSource))
        index.report.unnamed = sorted({image for images in unnamed for image in images})
        files = [*listing, *(file for record in records for file in (record.image, *record.places))]
        save_index(place, index, listing, list(dict.fromkeys(files)), started)
    index.report.unused = [file for source in sources for file in source.unused()]
    known = [*index.paths, *(path for path, _ in index.report.unreadable)]
    found = (unlisted_beside(source, known, entries, root) for source in sources if isinstance(source, CocoSource))
    index.report.unlisted = sorted({image for images in found for image in images})
    return index
