"""A clean set, and one with every kind of dirt planted.

`PYTHONPATH=.:tests python -m helpers.dirt` prints what is found.
Each image of the clean set is planted with at most one kind of dirt, so that what is found can be counted.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

import moat_det.offline  # noqa: F401 - before the engine is imported

SIDE = 120
NAMES = ["scratch", "pit", "stain"]
BOX = "0.5 0.5 0.2 0.25"
GROUP = r"^(part\d+)"
Planted = Counter[tuple[str, str]]
"""How often, by (kind, name of the file at fault without its ending); those of the whole set have an empty name."""


def surface(seed: int, side: int = SIDE) -> np.ndarray:
    """A gray surface under uneven light, (side, side) uint8; the light is the same on all, as in a machine."""
    noise = np.random.default_rng(seed).normal(0, 1, (side, side)).astype(np.float32)
    texture = cv2.GaussianBlur(noise, (0, 0), 1.5) * 60 + noise * 5
    light = np.linspace(80, 180, side, dtype=np.float32)
    return np.clip(texture + light[None] * 0.6 + light[:, None] * 0.4, 0, 255).astype(np.uint8)


def board(seed: int, spot: bool = True) -> np.ndarray:
    """A board: one layout for all, a spot of its own or none, some noise of the camera."""
    picture = np.full((SIDE, SIDE), 30, np.uint8)
    for k in range(6, SIDE, 18):
        picture[k : k + 6] = 200
        picture[20:100, k : k + 4] = 120
    random = np.random.default_rng(seed)
    y, x = random.integers(10, SIDE - 25, 2)
    if spot:
        picture[y : y + 12, x : x + 12] = 255
    return np.clip(picture + random.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)


def write_clean(root: Path) -> Path:
    """Write a set of YOLO, COCO and VOC splits without a fault; gives its YAML."""
    for split, count, first in (("train", 60, 0), ("val", 16, 100)):
        for number in range(first, first + count):
            name = f"part{number:03d}"
            picture = surface(number) if number % 4 else board(number, spot=number % 8 == 0)
            save(root / f"images/{split}/{name}.png", picture)
            # Some boxes touch the edge as labelling tools round it; every class occurs in both splits.
            rows = [f"{number % 3} {BOX}", f"{(number + 1) % 3} 0.9 0.85 0.200001 0.3"]
            write_text(root / f"labels/{split}/{name}.txt", "\n".join(rows) + "\n")
    images, notes = [], []
    for number in range(200, 208):
        save(root / f"coco/images/part{number}.png", surface(number))
        images.append({"id": number, "file_name": f"part{number}.png", "width": SIDE, "height": SIDE})
        notes.append({"id": number, "image_id": number, "category_id": number % 3, "bbox": [10, 20, 30, 40.5]})
    _write_coco(root, images, notes)
    for number in range(300, 308):
        save(root / f"voc/part{number}.png", surface(number))
        write_text(root / f"voc/part{number}.xml", _voc([(NAMES[number % 3], 10, 20, 60, 50)]))
    content = f"train: images/train\nval: [images/val, voc]\ntest: coco/set.json\nnames: {json.dumps(NAMES)}\n"
    write_text(root / "data.yaml", content)
    return root / "data.yaml"


def write_dirty(root: Path) -> tuple[Path, Planted]:
    """Write the set with every kind of dirt; gives its YAML and what was planted."""
    file = write_clean(root)
    planted: Planted = Counter()
    _plant_yolo(root, planted)
    _plant_images(root, planted)
    _plant_duplicates(root, planted)
    _plant_voc(root, planted)
    _plant_coco(root, planted)
    _plant_set(file, planted)
    return file, planted


def _plant_yolo(root: Path, planted: Planted) -> None:
    labels = root / "labels/train"
    rows = {
        1: ("box_without_area", "1 0.5 0.5 0 0.2"),
        2: ("box_without_area", "1 1.5 0.5 0.2 0.2"),
        3: ("box_past_edge", "1 0.02 0.5 0.2 0.2"),
        5: ("duplicate_box", f"2 {BOX}"),
        6: ("box_of_two_classes", f"2 {BOX}"),
        7: ("polygon", "1 0.1 0.1 0.2 0.1 0.2 0.25 0.1 0.25"),
        9: ("unknown_class", f"3 {BOX}"),
        10: ("malformed_label", "1 0.5 0.5 0.2"),
        11: ("malformed_label", "scratch 0.5 0.5 0.2 0.2"),
        13: ("malformed_label", "1 60 60 20 20"),
        14: ("malformed_label", "1 nan 0.5 0.2 0.2"),
        15: ("tiny_box", "1 0.3 0.3 0.01 0.1"),
        17: ("long_box", "1 0.5 0.2 0.9 0.03"),
    }
    for number, (kind, row) in rows.items():
        with (labels / f"part{number:03d}.txt").open("a") as out:
            out.write(row + "\n")
        planted[kind, f"part{number:03d}"] += 1
    crlf = labels / "part018.txt"
    crlf.write_bytes(crlf.read_bytes().replace(b"\n", b"\r\n"))
    planted["crlf", "part018"] += 1
    write_text(labels / "part019.txt", "")
    planted["empty_label", "part019"] += 1
    (labels / "part020.txt").write_bytes(b"\xff\xfe\x00garbage")
    planted["unreadable_labels", "part020"] += 1
    (labels / "part021.txt").unlink()
    planted["image_without_label", "part021"] += 1
    write_text(labels / "ghost.txt", f"0 {BOX}\n")
    planted["label_without_image", "ghost"] += 1
    write_text(labels / "classes.txt", "\n".join(NAMES))
    planted["text_beside_labels", "classes"] += 1
    save(root / "images/train/part022.bmp", surface(522))
    planted["shared_label_file", "part022"] += 1


def _plant_images(root: Path, planted: Planted) -> None:
    images = root / "images/train"
    cut = images / "part023.png"
    cut.write_bytes(cut.read_bytes()[:-400])
    planted["truncated_image", "part023"] += 1
    (images / "part025.png").write_bytes(b"this is no image")
    planted["unreadable_image", "part025"] += 1
    (images / "part026.png").rename(images / "part026.PNG")
    planted["upper_case_suffix", "part026"] += 1
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(surface(527)).save(images / "part027.jpg", exif=exif, quality=95)
    (images / "part027.png").unlink()
    planted["turned_by_exif", "part027"] += 1
    Image.fromarray(np.dstack([surface(529), surface(530), surface(531)])).save(images / "part029.png")
    planted["mixed_channels", "part029"] += 1
    cv2.imwrite(str(images / "part030.png"), surface(533).astype(np.uint16) * 16)
    planted["deep_image", "part030"] += 1
    planted["mixed_depths", "part030"] += 1
    cv2.imwrite(str(images / "part031.tif"), surface(534).astype(np.uint16) * 16)
    (images / "part031.png").unlink()
    cv2.imwrite(str(images / "part033.tif"), surface(535).astype(np.float32))
    (images / "part033.png").unlink()
    for name in ("part031", "part033"):
        planted["deep_image", name] += 1
        planted["mixed_depths", name] += 1
    planted["mixed_sample_types", "part033"] += 1
    Image.fromarray(surface(536)).save(images / "part034.jpg", quality=95)
    (images / "part034.jpg").replace(images / "part034.png")
    planted["wrong_suffix", "part034"] += 1
    first, second = Image.fromarray(surface(50)), Image.fromarray(surface(550))
    first.save(images / "part050.png", save_all=True, append_images=[second])
    planted["several_pictures", "part050"] += 1
    write_text(images / "camera.raw", "a picture of another kind")
    planted["unused_files", "camera"] += 1


def _plant_duplicates(root: Path, planted: Planted) -> None:
    train, val = root / "images/train", root / "images/val"

    def labels(a: str, b: str) -> None:
        (root / "labels" / f"{b}.txt").write_text((root / "labels" / f"{a}.txt").read_text())

    save(train / "part037.png", surface(35))
    labels("train/part035", "train/part037")
    planted["duplicate_image", "part037"] += 1
    save(train / "part038.png", surface(101))
    labels("val/part101", "train/part038")
    planted["duplicate_across_splits", "part038"] += 1
    # Stored another way: three channels of another format.
    Image.fromarray(surface(102)).convert("RGB").save(train / "part039.bmp")
    (train / "part039.png").unlink()
    write_text(root / "labels/train/part039.txt", f"1 {BOX}\n")
    planted["duplicates_disagree", "part039"] += 1
    planted["mixed_channels", "part039"] += 1
    Image.fromarray(surface(103)).save(train / "part041.jpg", quality=60)
    (train / "part041.png").unlink()
    planted["near_duplicate_across_splits", "part041"] += 1
    smaller = cv2.resize(surface(542, 4 * SIDE), (2 * SIDE, 2 * SIDE), interpolation=cv2.INTER_AREA)
    save(train / "part042.png", surface(542, 4 * SIDE))
    save(train / "part043.png", np.clip(smaller * 0.9 + 10, 0, 255).astype(np.uint8))
    planted["near_duplicate", "part043"] += 1
    Image.fromarray(board(104 + 4, spot=False)).save(train / "part047.jpg", quality=90)
    (train / "part047.png").unlink()
    planted["near_duplicate_across_splits", "part047"] += 1
    (val / "part105.png").rename(val / "part045_b.png")
    (root / "labels/val/part105.txt").rename(root / "labels/val/part045_b.txt")
    planted["group_leak", "part045_b"] += 1


def _plant_voc(root: Path, planted: Planted) -> None:
    voc = root / "voc"
    plants = {
        300: ("wrong_size", _voc([("pit", 10, 20, 60, 50)], width=2 * SIDE)),
        301: ("unknown_class", _voc([("pit", 10, 20, 60, 50), ("hole", 10, 60, 20, 70)])),
        302: ("malformed_label", _voc([("pit", 10, 20, 60, 50), ("pit", 30, 60, 20, 70)])),
        303: ("unreadable_labels", "<annotation><object>"),
    }
    for number, (kind, text) in plants.items():
        write_text(voc / f"part{number}.xml", text)
        planted[kind, f"part{number}"] += 1
    write_text(voc / "part309.xml", _voc([("pit", 10, 20, 60, 50)]))
    planted["label_without_image", "part309"] += 1
    write_text(
        voc / "twice.xml",
        _voc([("pit", 10, 20, 60, 50)]).replace("<annotation>", "<annotation><filename>part304.png</filename>"),
    )
    planted["annotated_twice", "twice"] += 1
    (voc / "part305.xml").unlink()
    planted["image_without_label", "part305"] += 1


def _plant_coco(root: Path, planted: Planted) -> None:
    content: dict[str, Any] = json.loads((root / "coco/set.json").read_text())
    images, notes = content["images"], content["annotations"]
    images.append({"id": 900, "file_name": "gone.png", "width": SIDE, "height": SIDE})
    images[0]["height"] = 2 * SIDE
    notes += [
        {"id": 901, "image_id": 999, "category_id": 0, "bbox": [0, 0, 9, 9]},
        {"id": 902, "image_id": 201, "category_id": 77, "bbox": [60, 0, 9, 9]},
        {"id": 903, "image_id": 202, "category_id": 1, "bbox": [60, 0, -9, 9]},
        {"id": 903, "image_id": 203, "category_id": 1, "bbox": [60, 0, 9, 9]},
        {"id": 904, "image_id": 204, "category_id": 3, "bbox": [60, 0, 9, 9]},
    ]
    content["categories"].append({"id": 3, "name": "hole"})
    for kind in ("image_missing", "wrong_size", "absent_image", "absent_category", "malformed_label", "repeated_id"):
        planted[kind, "set"] += 1
    planted["unknown_class", "set"] += 1
    write_text(root / "coco/set.json", json.dumps(content))
    save(root / "coco/images/unlisted.png", surface(600))
    planted["image_not_listed", "unlisted"] += 1


def _plant_set(file: Path, planted: Planted) -> None:
    root = file.parent
    names = [*NAMES, "burr", "Pit ", "dent", "chip"]
    write_text(file, file.read_text().replace(json.dumps(NAMES), json.dumps(names)))
    # Ids 3 to 6 are names now: what was past the list lies further out.
    nine = root / "labels/train/part009.txt"
    nine.write_text(nine.read_text().replace("\n3 ", "\n7 "))
    with (root / "labels/val/part106.txt").open("a") as out:
        out.write("5 0.2 0.2 0.1 0.1\n")
    with (root / "labels/train/part046.txt").open("a") as out:
        out.write("6 0.2 0.2 0.1 0.1\n")
    planted["class_without_box", ""] += 2  # burr, and Pit, which is like pit
    planted["similar_names", ""] += 1
    planted["class_absent_from_train", ""] += 1  # dent
    planted["class_imbalance", ""] += 1  # chip
    planted["class_missing_from_split", ""] += 2  # chip, in val and test


def write_good_parts(root: Path) -> tuple[Path, Planted]:
    """Write a set whose images are mostly good parts, without label files, and a split that is not there."""
    for number in range(10):
        save(root / f"images/part{number}.png", surface(700 + number))
    for number in range(3):
        write_text(root / f"labels/part{number}.txt", f"0 {BOX}\n")
    save(root / "val/part20.png", surface(720))
    write_text(root / "val/part20.txt", f"0 {BOX}\n")
    write_text(root / "list.txt", "val/part20.png\nval/gone.png\n")
    write_text(root / "data.yaml", "train: images\nval: list.txt\ntest: nowhere\nnames: [scratch]\n")
    return root / "data.yaml", Counter({("good_parts", ""): 1, ("split_unusable", ""): 1, ("image_missing", "gone"): 1})


def found(file: Path, group: str | None = GROUP) -> Planted:
    """What the check finds, counted as `Planted`."""
    from moat_det.checks.run import check_dataset

    counts: Planted = Counter()
    for fault in check_dataset(file, group).faults:
        whole = fault.file == str(file) or fault.kind == "split_unusable"
        counts[fault.kind, "" if whole else Path(fault.file).stem] += 1
    return counts


def _voc(objects: list[tuple[str, int, int, int, int]], width: int = SIDE) -> str:
    items = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox>"
        "</object>"
        for name, a, b, c, d in objects
    )
    return f"<annotation><size><width>{width}</width><height>{SIDE}</height></size>{items}</annotation>"


def _write_coco(root: Path, images: list[dict[str, Any]], notes: list[dict[str, Any]]) -> None:
    categories = [{"id": number, "name": name} for number, name in enumerate(NAMES)]
    content = {"images": images, "annotations": notes, "categories": categories}
    write_text(root / "coco/set.json", json.dumps(content))


def save(file: Path, picture: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(file)


def write_text(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def main() -> int:
    """Print found / planted for each kind, and the false alarms on the clean set."""
    writers: dict[str, Callable[[Path], tuple[Path, Planted]]] = {"dirty": write_dirty, "good parts": write_good_parts}
    planted, hits, alarms = Counter[str](), Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="dirt-") as home:
        for number, write in enumerate(writers.values()):
            file, wanted = write(Path(home, str(number)))
            seen = found(file, GROUP)
            for (kind, _), count in wanted.items():
                planted[kind] += count
            for (kind, _), count in (wanted & seen).items():
                hits[kind] += count
            for (kind, _), count in (seen - wanted).items():
                alarms[kind] += count
        clean = found(write_clean(Path(home, "clean")))
    print(f"{'kind':32s}{'found':>8s}{'planted':>9s}{'false':>8s}")
    for kind in sorted({*planted, *alarms}):
        print(f"{kind:32s}{hits[kind]:8d}{planted[kind]:9d}{alarms[kind]:8d}")
    print(f"{'all':32s}{hits.total():8d}{planted.total():9d}{alarms.total():8d}")
    print(f"clean twin: {clean.total()} false alarms", *clean)
    return 0 if hits == planted and not alarms and not clean else 1


if __name__ == "__main__":
    sys.exit(main())
