"""Making the index of a split: from its annotations and the headers of its images."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.pool import ThreadPool

import numpy as np

from moat_det.cores import READING_THREADS
from moat_det.data.formats.annotation import Cleaning
from moat_det.data.formats.faults import refuse
from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.data.formats.records import Record, Source
from moat_det.data.images.header import ImageHeader, large_images, read_header
from moat_det.data.index.split import ScanReport, SplitIndex
from moat_det.errors import UserError
from moat_det.progress import progress

# Images that a thread takes at once: handing over one by one costs as much as reading them.
_CHUNK = 32


def collect_records(sources: Sequence[Source]) -> list[Record]:
    """Give the images of all sources, sorted by path.

    Args:
        sources: The parts of a split.

    Raises:
        UserError: An annotation file is not in order, or two of them name the same image.
    """
    records: dict[str, Record] = {}
    for source in sources:
        for record in source.records(refuse):
            if record.image in records:
                raise UserError(f"{record.image}: two parts of one split have annotations of it; remove one of them")
            records[record.image] = record
    return [records[image] for image in sorted(records)]


def scan_records(records: Sequence[Record], formats: Sequence[str], prefix: str = "") -> SplitIndex:
    """Read the headers and boxes of images, with a progress bar; images that cannot be read are left out.

    Args:
        records: The images.
        formats: The formats that they come from.
        prefix: Put before each message.

    Raises:
        UserError: An annotation is malformed, or no image is readable.
    """
    report = ScanReport()
    images: list[LabelledImage] = []
    with large_images(), ThreadPool(READING_THREADS) as pool:
        results = progress(
            pool.imap(_read, records, chunksize=_CHUNK),
            f"{prefix}Scanning",
            len(records),
        )
        for record, result in zip(records, results, strict=True):
            if isinstance(result, str):
                report.unreadable.append((record.image, result))
                continue
            header, declared, image, cleaning = result
            images.append(image)
            report.deep += header.deep
            if header.pictures > 1:
                report.several.append((record.image, header.pictures))
            report.labelled += not image.ignored.all()
            report.ignored += int(image.ignored.sum())
            report.cleaning.add(cleaning)
            if declared is not None and declared != (header.height, header.width):
                height, width = declared
                reason = f"{width} x {height} instead of {header.width} x {header.height}"
                report.wrong_sizes.append((record.image, reason))
    if not images:
        path, reason = report.unreadable[0]
        way_out = "replace them" if list(formats) == ["yolo"] else "give their folder as 'images' in the dataset YAML"
        raise UserError(f"none of the {len(records)} images is readable, the first is {path}: {reason}; {way_out}")
    report.images = len(images)
    report.backgrounds = report.images - report.labelled
    return SplitIndex(
        formats=list(formats),
        paths=[image.path for image in images],
        shapes=np.array([(image.height, image.width) for image in images], dtype=np.int64),
        starts=np.cumsum([0, *(len(image.classes) for image in images)], dtype=np.int64),
        classes=np.concatenate([image.classes for image in images]),
        boxes=np.concatenate([image.boxes for image in images]),
        shares=np.concatenate([image.shares for image in images]),
        ignored=np.concatenate([image.ignored for image in images]),
        report=report,
    )


def _read(record: Record) -> tuple[ImageHeader, tuple[int, int] | None, LabelledImage, Cleaning] | str:
    """Give what is found, with the size that the annotation declares; or why the image cannot be read."""
    try:
        header = read_header(record.image)
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:  # no name that a file may have
        return str(error)
    annotation = record.read()
    return header, annotation.declared, *annotation.clean(record.image, header.height, header.width)
