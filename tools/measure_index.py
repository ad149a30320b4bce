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
from typing import Any

from tqdm import tqdm

from moat_det.data.config import DatasetConfig, load_dataset
from moat_det.data.index import open_index
from moat_det.demo import dataset_source
from moat_det.errors import UserError
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
    index = open_index(data["val"], data["names"], data.get("image_roots"), 24)
    labels = index.labels()
    for name in ("images", "labels", "xml", "seed"):
        (folder / name).mkdir()
    seeds = [Path(shutil.copy(label["im_file"], folder / "seed")) for label in labels]
    images: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    for i in tqdm(range(count), desc="linking", leave=False):
        label, seed = labels[i % len(labels)], seeds[i % len(labels)]
        image, (height, width) = folder / "images" / f"{i:06d}{seed.suffix}", label["shape"]
        os.link(seed, image)
        classes, boxes = label["cls"][:, 0].astype(int).tolist(), label["boxes_xyxy"].round().tolist()
        rows = zip(classes, label["bboxes"].tolist(), strict=True)
        (folder / "labels" / f"{i:06d}.txt").write_text("".join(f"{c} {' '.join(map(str, b))}\n" for c, b in rows))
        objects = "".join(OBJECT.format(data["names"][c], *box) for c, box in zip(classes, boxes, strict=True))
        (folder / "xml" / f"{i:06d}.xml").write_text(XML.format(image.name, width, height, objects))
        images.append({"id": i, "file_name": image.name, "height": height, "width": width})
        for c, (x1, y1, x2, y2) in zip(classes, boxes, strict=True):
            notes.append(
                {"id": len(notes), "image_id": i, "category_id": c, "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": 0}
            )
    categories = [{"id": number, "name": name} for number, name in data["names"].items()]
    content = {"images": images, "annotations": notes, "categories": categories}
    (folder / "set.json").write_text(json.dumps(content))
    (folder / "names.json").write_text(json.dumps(list(data["names"].values())))


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
