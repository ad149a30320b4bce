"""The demo set on the disk: images, YOLO and COCO labels, dataset YAML; written as a whole or not at all."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from tqdm import tqdm

from moat_det.data.formats.coco import coco_dictionary
from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.data.formats.yolo import yolo_text
from moat_det.demo.part import NAMES, SURFACES, draw_part
from moat_det.errors import UserError
from moat_det.files import atomic_folder, atomic_write_text
from moat_det.paths import user_cache
from moat_det.progress import progress

VERSION = 1  # counts up with every change of what is drawn or written
SMALLEST_SIDE = 64  # pixels; on less, a board may have no whole pad and a stain no room
SPLITS = ("train", "val")
DEMO = "demo"
RECORD = "demo.json"
CLEAN_EVERY = 4  # one part in four is good


def generate_demo(
    out: str | Path,
    train: int = 240,
    val: int = 80,
    size: tuple[int, int] = (224, 224),
    seed: int = 0,
    defect_scale: float = 1.0,
) -> Path:
    """Draw the demo set into the folder `out`, or reuse it where it is there with the same parameters.

    An image depends on `seed`, its split, its index, `size` and `defect_scale` alone, not on how many there
    are. A quarter of the parts is good: an empty label file, no annotation. The set is drawn beside `out` and
    renamed when whole, so that an interruption leaves nothing half-made.

    Args:
        out: The folder to make: `images/<split>/*.png` (8 bit, 3 channels), `labels/<split>/*.txt` (YOLO),
            `annotations/instances_<split>.json` (COCO), `data.yaml` and `demo.json`, the parameters.
        train: How many training images, at least 1.
        val: How many validation images, at least 1.
        size: (H, W) of every image in pixels, each at least 64; texture and defects keep their size.
        seed: At least 0.
        defect_scale: Factor on the size of the defects (not of missing pads), above 0.

    Returns:
        The path of `data.yaml`.

    Raises:
        UserError: A parameter is out of its range, `out` holds something else (it is left as it is), or it
            cannot be written.
    """
    check_parameters(train, val, size, seed, defect_scale)
    out = Path(out).expanduser().resolve()
    record = {
        "generator": "moat_det demo",
        "version": VERSION,
        "train": train,
        "val": val,
        "size": list(size),
        "seed": seed,
        "defect_scale": defect_scale,
    }
    try:
        if is_same_set(out, record):
            return reuse(out)
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UserError(
                f"{out} exists and is not this demo set (another {RECORD}, or none): name a new folder, or remove it"
            )
        with atomic_folder(out) as unfinished:
            write_set(unfinished, out, record)
    except OSError as error:
        if is_same_set(out, record):  # another process was faster with the same set
            return out / "data.yaml"
        raise UserError(f"cannot write the demo set to {out}: {error.strerror or error}") from error
    return out / "data.yaml"


def demo_dataset(cache_dir: Path | None = None) -> Path:
    """Give the `data.yaml` of the demo set with its default parameters, drawn on first use into the user's cache.

    Args:
        cache_dir: Where to keep it; None: `$MOAT_DET_CACHE`, else `~/.cache/moat_det`
            (`%LOCALAPPDATA%/moat_det` on Windows). One line on stderr says where the set is.

    Raises:
        UserError: The folder cannot be written or holds something else.
    """
    out = (cache_dir or user_cache()) / f"demo-v{VERSION}"
    data = generate_demo(out)
    print(f"demo set: {data.parent}", file=sys.stderr)
    return data


def dataset_source(source: str | Path) -> str | Path:
    """Give the demo set's `data.yaml` for the word `DEMO`, and every other source of a dataset as it is."""
    return demo_dataset() if str(source) == DEMO else source


def check_parameters(train: int, val: int, size: tuple[int, int], seed: int, defect_scale: float) -> None:
    """Raise `UserError` for a parameter of `generate_demo` that is out of its range."""
    for split, count in (("train", train), ("val", val)):
        if count < 1:
            raise UserError(f"{split} is {count}: the demo set needs at least 1 image in each split")
    if min(size) < SMALLEST_SIDE:
        raise UserError(f"size is {size[0]} x {size[1]}: each side of a demo image needs at least {SMALLEST_SIDE} px")
    if seed < 0:
        raise UserError(f"seed is {seed}: give 0 or more")
    if not 0 < defect_scale < float("inf"):
        raise UserError(f"defect_scale is {defect_scale}: give a factor above 0, such as 1 or 2")


def is_same_set(out: Path, record: dict[str, Any]) -> bool:
    """Whether `out` holds the whole set that `record` describes."""
    try:
        found = json.loads((out / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(found == record) and all(
        sum(1 for _ in (out / "images" / split).glob("*.png")) == record[split] for split in SPLITS
    )


def reuse(out: Path) -> Path:
    """Give the `data.yaml` of a set that is there; its `path` follows a moved folder, the user's edits stay."""
    data, ours = out / "data.yaml", dataset_yaml(out)
    found = yaml.safe_load(data.read_text(encoding="utf-8")) if data.is_file() else {}
    if not found or (found != ours and {**found, "path": ours["path"]} == ours):
        atomic_write_text(data, yaml_text(ours))
    return data


def dataset_yaml(out: Path) -> dict[str, Any]:
    """Give the content of `data.yaml` for a set in the folder `out`."""
    names = dict(enumerate(NAMES))
    return {"path": str(out), "train": "images/train", "val": "images/val", "names": names}


def yaml_text(content: dict[str, Any]) -> str:
    """Give the content as YAML, in the order given."""
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def write_set(folder: Path, out: Path, record: dict[str, Any]) -> None:
    """Write the whole set that `record` describes into `folder`, to be renamed to `out`."""
    total = record["train"] + record["val"]
    with progress(total=total, text="drawing the demo set", unit="image", leave=False) as bar:
        for split in SPLITS:
            write_split(folder, split, record, bar)
    (folder / "data.yaml").write_text(yaml_text(dataset_yaml(out)), encoding="utf-8")
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def write_split(folder: Path, split: str, record: dict[str, Any], bar: tqdm) -> None:
    """Write the images, labels and annotations of one split."""
    height, width = record["size"]
    images, labels = folder / "images" / split, folder / "labels" / split
    for place in (images, labels, folder / "annotations"):
        place.mkdir(parents=True, exist_ok=True)
    found: list[LabelledImage] = []
    names: list[str] = []
    for index in range(record[split]):
        name = f"{index:06d}"  # so that the order of the names is that of the numbers
        picture, boxes, classes = draw_image(record, split, index)
        (images / f"{name}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
        found.append(LabelledImage(str(images / f"{name}.png"), height, width, classes, boxes))
        names.append(f"{name}.png")
        (labels / f"{name}.txt").write_text(yolo_text(found[-1], ".8f"), encoding="ascii")
        bar.update()
    info = {"description": f"{record['generator']}, version {record['version']}, seed {record['seed']}"}
    coco = coco_dictionary(found, names, dict(enumerate(NAMES)), decimals=0, info=info)  # whole pixels
    (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(coco), encoding="ascii")


def draw_image(
    record: dict[str, Any], split: str, index: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Draw image `index` of `split`: the surfaces take turns, and every fourth part is good."""
    rng = np.random.default_rng(np.random.SeedSequence([record["seed"], SPLITS.index(split), index]))
    surface = list(SURFACES)[index % len(SURFACES)]
    return draw_part(rng, tuple(record["size"]), surface, (index + 1) % CLEAN_EVERY != 0, record["defect_scale"])
