"""Validations written by hand, and the settings that they were made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from moat_det.evaluation.inspection.settings import Settings

BOX = [10.0, 10.0, 20.0, 20.0]
ELSEWHERE = [60.0, 60.0, 20.0, 20.0]

SETTINGS = Settings(
    weights="w",
    weights_file="best.pt",
    split="s",
    chosen_on_same_split=False,
    classes=["scratch", "pit"],
    conf=0.001,
    imgsz=640,
    max_pixels=None,
    window=None,
    position=None,
    rect=True,
    iou=0.7,
    agnostic_nms=False,
    max_det=300,
    augment=False,
    quantize=None,
    only=None,
    intensity={"kind": "full", "windows": []},
)


def settings(**changed: Any) -> Settings:
    return replace(SETTINGS, **changed)


def validation(
    images: Sequence[tuple[str, Sequence[str], Mapping[str, float]]],
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Give ground truth and predictions.

    Args:
        images: Of each its file name, the classes of its labels, all at `BOX`, and the score of a detection there by
            class; a class with a `!` is found elsewhere.
    """
    ids = {name: number for number, name in enumerate(SETTINGS.classes, 1)}
    truth: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
    }
    found = []
    for image_id, (file_name, labels, scores) in enumerate(images, 1):
        truth["images"].append({"id": image_id, "file_name": file_name, "width": 100, "height": 100})
        for label in labels:
            truth["annotations"].append(
                {
                    "id": len(truth["annotations"]) + 1,
                    "image_id": image_id,
                    "category_id": ids[label],
                    "bbox": BOX,
                    "area": 400.0,
                    "iscrowd": 0,
                }
            )
        for label, score in scores.items():
            box = ELSEWHERE if label.endswith("!") else BOX
            category_id = ids[label.rstrip("!")]
            found.append({"image_id": image_id, "category_id": category_id, "bbox": box, "score": score})
    return truth, found
