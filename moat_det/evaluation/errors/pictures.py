"""Pictures of suspicious labels: what is labelled beside what was detected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from moat_det.data.images.intensity import Intensity
from moat_det.data.images.shown import read_rgb
from moat_det.evaluation.errors.overlaps import Entry
from moat_det.evaluation.inspection.rule import THRESHOLD
from moat_det.progress import progress
from moat_det.report.evidence import Marks, truth_beside_found

_TITLES = {"missing": "no label", "wrong_class": "class?", "misplaced": "place?", "not_found": "nothing there?"}


def draw_suspicious(
    entries: Sequence[Mapping[str, Any]],
    paths: Mapping[int, str],
    ground_truth: Mapping[str, Any],
    predictions: Sequence[Sequence[Entry]],
    intensity: Intensity,
    channels: int = 3,
) -> list[np.ndarray]:
    """Draw suspicious labels, one picture each.

    Args:
        entries: From `suspicious_labels`.
        paths: The file of each image, by its id.
        ground_truth: As `suspicious_labels` takes it.
        predictions: The same; of all models together, those from `THRESHOLD` on are drawn, and what an entry names.
        intensity: How more than 8 bits become 8.
        channels: Of the images.

    Returns:
        (H, W, 3) uint8 RGB each; entries whose image cannot be read are left out.
    """
    names = {category["id"]: str(category["name"]) for category in ground_truth["categories"]}
    wanted = {entry["image_id"] for entry in entries}
    labels = [entry for entry in ground_truth["annotations"] if entry["image_id"] in wanted]
    found = [e for of_model in predictions for e in of_model if e["image_id"] in wanted and e["score"] >= THRESHOLD]
    pictures = []
    for entry in progress(entries, "drawing", unit="picture", leave=False):
        try:
            image = read_rgb(paths[entry["image_id"]], intensity, channels)
        except OSError:
            continue
        missing = entry["kind"] == "missing"
        truth = boxes_of(labels, entry["image_id"], None if missing else (entry["bbox"], entry["class"]), names)
        contradicts = (entry["bbox"], entry["class"]) if missing else (entry["other_bbox"], entry["other_class"])
        seen = boxes_of(found, entry["image_id"], contradicts if contradicts[0] else None, names)
        title = f"{entry['rank']}  {_TITLES[entry['kind']]}  {entry['suspicion']:.2f}  {entry['file_name']}"
        pictures.append(truth_beside_found(image, truth, seen, title))
    return pictures


def boxes_of(
    entries: Sequence[Entry], image_id: int, marked: tuple[Sequence[float], str] | None, names: Mapping[int, str]
) -> Marks:
    """Give the boxes of an image, the marked one first; what overlaps it and is of its class is left out."""
    boxes, texts = ([list(marked[0])], [marked[1]]) if marked else ([], [])
    for entry in entries:
        if entry["image_id"] != image_id:
            continue
        name = names[entry["category_id"]]
        if not any(_alike(entry["bbox"], box) and name == text for box, text in zip(boxes, texts, strict=True)):
            boxes.append(list(entry["bbox"]))
            texts.append(name)
    corners = np.array(boxes, dtype=float).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    return Marks(corners, texts, [bool(marked) and k == 0 for k in range(len(boxes))])


def _alike(left: Sequence[float], right: Sequence[float]) -> bool:
    """Whether two boxes (x y w h) cover nearly the same, so that one of them is enough in a picture."""
    shared = 1.0
    for axis in (0, 1):
        start, end = max(left[axis], right[axis]), min(left[axis] + left[axis + 2], right[axis] + right[axis + 2])
        shared *= max(end - start, 0)
    return shared > 0.7 * max(left[2] * left[3], right[2] * right[3])
