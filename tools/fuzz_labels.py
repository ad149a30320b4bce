"""Feed mutated label, JSON, XML and YAML files to their readers: each must be read, or refused in one line.

A mutation changes bytes, or puts an extreme value where one stands: a number, a word, a branch of a JSON, a tag.
They are opened as training opens a dataset: the YAML is read and its splits indexed. A `UserError` of one line that
names a file is right; anything else, and taking longer than `--seconds-limit`, is a failure, whose file is kept.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import random
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from moat_det.data.config import load_dataset, reading
from moat_det.data.index import open_index
from moat_det.errors import UserError
from tools.fuzzing import Report, Settings, feed, run

NAMES = {0: "scratch", 1: "pit"}
KINDS = ("labels", "json", "xml", "yaml")
WORDS = [
    *("", " ", "0", "-1", "1", "2", "0.5", "-0.5", "nan", "inf", "-inf", "1e309", "1e-320", "9" * 400, "9" * 5000),
    *("scratch", "a" * 5000, "..", "~nobody/x", "\x00", "\ud800", "ä", "\u2028", "null", "true", "[]", "{}"),
]
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, -(10**400), 0.5, -0.5, 1e308, float("nan"), float("inf")),
    *("", " ", "scratch", "gone.png", "a.png", "a" * 5000, "\x00", "\ud800", "a\nb", [], [[]], [0], {}, {"id": 1}),
    *([0, 0, 0, 0], [1, 1, -1, 5], [1e308] * 4, [10**400] * 4, [None] * 4, "0000"),
]
YAML_VALUES = [
    *(
        "!!int x",
        "!!float x",
        "!!bool x",
        "!!timestamp x",
        "!!binary x",
        "!!python/name:os.system",
        "!!set {a}",
        "2020-13-01",
    ),
    *(
        "&a [*a]",
        "*gone",
        "&a {<<: *a}",
        "[" * 3000,
        "{" * 3000,
        '"\\0"',
        '"\\ud800"',
        "0x" + "f" * 5000,
        "1:2:3",
        "? [a]",
    ),
    *(
        "|",
        ">",
        "- a",
        "{a: 1, a: 2}",
        ".nan",
        ".inf",
        "~",
        "''",
        "[a, [b]]",
        "{0: [a]}",
        "labels",
        "images",
        "set.json",
    ),
]
BOMB = "<!DOCTYPE a [<!ENTITY b 'bbbbbbbbbb'><!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;'>]>"


def write_seeds(root: Path) -> dict[str, Path]:
    """Write two images with labels in each format; gives the file that is mutated, by kind."""
    for folder in ("images", "labels", "voc"):
        (root / folder).mkdir(parents=True)
    for name in ("a.png", "b.png"):
        Image.fromarray(np.full((40, 60), 90, np.uint8)).save(root / "images" / name)
    boxes = [[10, 5, 30, 20], [40, 10, 60, 40]]
    seeds = {
        "labels": root / "labels/a.txt",
        "json": root / "set.json",
        "xml": root / "voc/a.xml",
        "yaml": root / "data.yaml",
    }
    seeds["labels"].write_text("0 0.5 0.5 0.25 0.5\n1 0.25 0.2 0.5 0.4 0.25 0.6\n")
    objects = "".join(
        f"<object><name>{NAMES[i]}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox>"
        "</object>"
        for i, (a, b, c, d) in enumerate(boxes)
    )
    size = "<size><width>60</width><height>40</height></size>"
    seeds["xml"].write_text(
        f'<?xml version="1.0"?>\n<annotation><filename>a.png</filename><path>x/a.png</path>{size}\n'
        f"{objects}</annotation>"
    )
    coco = {
        "images": [{"id": i, "file_name": f"{'ab'[i]}.png", "width": 60, "height": 40} for i in range(2)],
        "annotations": [
            {"id": i, "image_id": 0, "category_id": i, "bbox": [a, b, c - a, d - b], "iscrowd": i, "area": 1}
            for i, (a, b, c, d) in enumerate(boxes)
        ],
        "categories": [{"id": i, "name": name} for i, name in NAMES.items()],
    }
    seeds["json"].write_text(json.dumps(coco))
    seeds["yaml"].write_text(
        "path: .\ntrain: images\nval: [images, images]\ntest: set.json\nimages: {test: images}\nnames:\n  0: scratch\n"
        "  1: pit\nnc: 2\n"
    )
    return seeds


def mutate(kind: str, seed: bytes, rng: random.Random) -> bytes:
    """Change a file in one to three places."""
    if kind == "json" and rng.random() < 0.6:
        content = json.loads(seed)
        for _ in range(rng.choice((1, 1, 2, 3))):
            content = _mutate_branch(content, rng)
        return json.dumps(content).encode()
    text = seed.decode()
    choice = rng.random()
    if kind == "yaml" and choice < 0.5:
        lines = text.splitlines()
        at = rng.randrange(len(lines))
        lines[at] = lines[at].partition(":")[0] + ": " + rng.choice(YAML_VALUES)
        return "\n".join(lines).encode()
    if kind == "xml" and choice < 0.15:
        head, tag, rest = text.partition("<annotation>")
        return (head + BOMB + tag + rest.replace("scratch", rng.choice(("&b;", "&c;", "&gone;")))).encode()
    if choice < 0.7:
        words = re.split(r"([\s<>:,/]+)", text)
        for _ in range(rng.choice((1, 1, 2, 3))):
            words[rng.randrange(len(words))] = rng.choice(WORDS)
        return "".join(words).encode("utf-8", "surrogatepass")
    return _mutate_bytes(seed, rng)


def _mutate_branch(content: Any, rng: random.Random) -> Any:
    """Replace, drop or double a branch of a JSON."""
    if not isinstance(content, (dict, list)) or not content or rng.random() < 0.15:
        return copy.deepcopy(rng.choice(VALUES))
    keys = list(content) if isinstance(content, dict) else list(range(len(content)))
    key = rng.choice(keys)
    action = rng.randrange(12)
    if action == 0:
        del content[key]
    elif action == 1 and isinstance(content, list):
        content.append(copy.deepcopy(content[key]))
    else:
        content[key] = _mutate_branch(content[key], rng)
    return content


def _mutate_bytes(seed: bytes, rng: random.Random) -> bytes:
    out = bytearray(seed)
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(out) + 1)
        size = rng.choice((1, 2, 8, 64))
        action = rng.randrange(5)
        if action == 0 and out:
            out[at % len(out)] = rng.randrange(256)
        elif action == 1:
            del out[at:]
        elif action == 2:
            del out[at : at + size]
        elif action == 3:
            out[at:at] = out[at : at + size] * rng.choice((1, 2, 200))
        else:
            out[at : at + size] = rng.randbytes(size)
    return bytes(out)


def read(kind: str, root: Path) -> None:
    """Open the files of a kind as training would."""
    if kind == "yaml":
        data = load_dataset(root / "data.yaml")
        for split in ("train", "val", "test"):
            if split in data:
                open_index(data[split], data["names"], **reading(data)).labels()
        return
    place = {"labels": "images", "json": "set.json", "xml": "voc"}[kind]
    open_index(root / place, NAMES, {str(root / place): str(root / "images")}).labels()


def fuzz(settings: Settings) -> Report:
    """Read mutants of each kind in turn."""
    logger = logging.getLogger("moat_det")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as home:
            root = Path(home, "set")
            seeds = write_seeds(root)
            contents = {path: path.read_bytes() for path in seeds.values()}
            kinds = {path: kind for kind, path in seeds.items()}

            def write(number: int, rng: random.Random) -> Path:
                for path, content in contents.items():
                    path.write_bytes(content)
                place = seeds[KINDS[number % len(KINDS)]]
                place.write_bytes(mutate(kinds[place], contents[place], rng))
                return place

            def judge(error: Exception) -> tuple[str, str | None]:
                message, complaint = str(error), None
                if len(message) > 20_000:
                    complaint = f"a huge message: {message[:300]!r}"
                elif str(root) not in message:
                    complaint = f"a message without the file: {message[:300]!r}"
                return message.replace(str(root), ""), complaint

            return feed(settings, write, lambda place: read(kinds[place], root), UserError, judge)
    finally:
        logger.setLevel(level)


def main() -> int:
    """Run the command line, with a cache of its own; returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="fuzz-cache-") as cache:
        os.environ["MOAT_DET_CACHE"] = cache
        return run(fuzz, "fuzz_labels", __doc__ or "", count=20_000)


if __name__ == "__main__":
    sys.exit(main())
