"""One small set, written in each annotation format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from helpers.dataset_files import HEIGHT, WIDTH, noise

NAMES = {0: "scratch", 1: "pit", 2: "stain"}
BOXES: dict[str, list[tuple[int, int, int, int, int]]] = {
    "a.png": [(1, 10, 5, 30, 20), (0, 40, 10, 60, 40)],
    "b.png": [],
    "c.jpg": [(2, 0, 0, 60, 40)],
}
"""Class and x1, y1, x2, y2 in pixels by image."""


def write_images(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(BOXES):
        noise(seed=seed).save(folder / name)
    return folder


def write_yolo(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, boxes in BOXES.items():
        rows = [
            (cls, (x1 + x2) / 2 / WIDTH, (y1 + y2) / 2 / HEIGHT, (x2 - x1) / WIDTH, (y2 - y1) / HEIGHT)
            for cls, x1, y1, x2, y2 in boxes
        ]
        lines = "".join(" ".join(map(str, row)) + "\n" for row in rows)
        (folder / name).with_suffix(".txt").write_text(lines)


def coco(**changes: Any) -> dict[str, Any]:
    """The set with ids that are neither dense nor sorted, and categories in another order than the names."""
    ids = {"a.png": 70, "b.png": 3, "c.jpg": 41}
    categories = {0: 9, 1: 4, 2: 100}
    notes = [
        {"image_id": ids[name], "category_id": categories[cls], "bbox": [x1, y1, x2 - x1, y2 - y1]}
        for name, boxes in BOXES.items()
        for cls, x1, y1, x2, y2 in boxes
    ]
    return {
        "images": [{"id": ids[name], "file_name": name, "height": HEIGHT, "width": WIDTH} for name in reversed(BOXES)],
        "annotations": [{"id": 50 - number, "iscrowd": 0, **note} for number, note in enumerate(notes)],
        "categories": [{"id": number, "name": NAMES[cls]} for cls, number in categories.items()],
        **changes,
    }


def write_coco(file: Path, **changes: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(coco(**changes)))
    return file


def voc(name: str, size: str = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>") -> str:
    objects = "".join(
        f"<object><name>{NAMES[cls]}</name><difficult>{cls % 2}</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox><part><bndbox><xmin>0</xmin></bndbox></part></object>\n"
        for cls, x1, y1, x2, y2 in BOXES[name]
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<annotation><filename>{name}</filename>{size}\n{objects}</annotation>'
    )


def write_voc(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in BOXES:
        (folder / name).with_suffix(".xml").write_text(voc(name))
    return folder
