"""Time and memory to index a large set in each annotation format: `python -m tools.measure_index --count 100000`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from moat_det.data.config import DatasetConfig, load_dataset, reading
from moat_det.data.formats.coco import coco_dictionary
from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.data.formats.yolo import yolo_text
from moat_det.data.index import open_index
from moat_det.demo import dataset_source
from moat_det.errors import UserError
from moat_det.progress import progress
from tools.command import command, make_parser
from tools.measuring import medians, run_once, run_tool

OBJECT = (
    "<object><name>{}</name><bndbox><xmin>{:.0f}</xmin><ymin>{:.0f}</ymin><xmax>{:.0f}</xmax><ymax>{:.0f}</ymax>"
    "</bndbox></object>"
)
XML = "<annotation><filename>{}</filename><size><width>{}</width><height>{}</height></size>{}</annotation>"
SOURCES = {"YOLO": "images", "COCO": "set.json", "VOC": "xml"}


def make_set(data: DatasetConfig, folder: Path, count: int) -> None:
    """Repeat the first validation images of a dataset by hard links, with their boxes in three formats."""
    known = [_objects(image) for image in open_index(data["val"], data["names"], part=24, **reading(data)).images()]
    for name in ("images", "labels", "xml", "seed"):
        (folder / name).mkdir()
    seeds = [Path(shutil.copy(image.path, folder / "seed")) for image in known]
    images = [known[i % len(known)] for i in range(count)]
    names = [f"{i:06d}{seeds[i % len(seeds)].suffix}" for i in range(count)]
    for i, (image, name) in enumerate(zip(progress(images, "linking", leave=False), names, strict=True)):
        os.link(seeds[i % len(seeds)], folder / "images" / name)
        (folder / "labels" / f"{i:06d}.txt").write_text(yolo_text(image))
        rows = zip(image.classes.tolist(), image.boxes.tolist(), strict=True)
        objects = "".join(OBJECT.format(data["names"][cls], *box) for cls, box in rows)
        (folder / "xml" / f"{i:06d}.xml").write_text(XML.format(name, image.width, image.height, objects))
    (folder / "set.json").write_text(json.dumps(coco_dictionary(images, names, data["names"], decimals=0)))
    (folder / "names.json").write_text(json.dumps(list(data["names"].values())))


def _objects(image: LabelledImage) -> LabelledImage:
    """Give the image without regions to ignore, which not every format holds, and with boxes of whole pixels."""
    kept = ~image.ignored
    boxes = image.boxes[kept].round()
    return LabelledImage(image.path, image.height, image.width, image.classes[kept], boxes, image.shares[kept])


def open_once(folder: Path, source: str) -> int:
    """Open an index; gives the number of its images."""
    names = dict(enumerate(json.loads((folder / "names.json").read_text())))
    place = str(folder / source)
    return len(open_index(place, names, {place: str(folder / "images")} if source != SOURCES["YOLO"] else None).paths)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = make_parser(
        "Repeat the first 24 validation images of a dataset by hard links and index them as YOLO, COCO and VOC, cold "
        "and from the cache, each in a process of its own; the files are in the system's cache."
    )
    parser.add_argument("--data", default="demo", help="dataset YAML")
    parser.add_argument("--count", type=int, default=100_000, help="images")
    parser.add_argument("--repeats", type=int, default=3, help="processes for each figure, of which the median")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--source", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.source:
        print(json.dumps(run_once(lambda: open_once(args.folder, args.source))))
        return 0
    rows = ["| format | images | cold, s | MiB | from the cache, s | MiB |", "|---|---|---|---|---|---|"]
    if min(args.count, args.repeats) < 1:
        raise UserError(f"--count {args.count}, --repeats {args.repeats}: give 1 or more")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_set(load_dataset(dataset_source(args.data)), folder, args.count)
        rows += [row(title, folder, source, args.repeats) for title, source in SOURCES.items()]
    print("\n".join(rows))
    return 0


def row(title: str, folder: Path, source: str, repeats: int) -> str:
    """Measure a format, without a cache and with it."""
    cells = []
    for cached in (False, True):
        results = []
        for _ in range(repeats):
            if not cached:
                shutil.rmtree(folder / "cache", ignore_errors=True)
            words = ("--folder", folder, "--source", source)
            results.append(run_tool("measure_index", *words, MOAT_DET_CACHE=str(folder / "cache")))
        middle = medians(results)
        cells += [f"{middle['seconds']:.2f}", f"{middle['memory']:.0f}"]
    return f"| {title} | {results[0]['amount']:.0f} | {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
