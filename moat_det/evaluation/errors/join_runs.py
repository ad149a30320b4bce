"""Validations of several models joined to one set of labels, with the detections of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from moat_det.errors import UserError
from moat_det.evaluation.validation_folder import Validation


def join_runs(runs: Sequence[Validation]) -> tuple[dict[str, Any], list[list[dict[str, Any]]]]:
    """Join validations by the names of images and classes.

    Args:
        runs: All of the same images, each another model's; or of different images, each of a model that has not been
            trained on them: then they count as one model.

    Returns:
        The labels as one COCO dictionary, and the detections of each model with its ids.

    Raises:
        UserError: Two share some images and not all, or disagree about labels or classes.
    """
    first, *others = runs
    truth = {key: list(first.ground_truth[key]) for key in ("images", "annotations", "categories")}
    models = [list(first.predictions)]
    boxes = _boxes(first)
    for run in others:
        known = {image["file_name"]: image["id"] for image in truth["images"]}
        own = {image["file_name"]: image["id"] for image in run.ground_truth["images"]}
        classes = _classes(truth, run)
        shared = known.keys() & own.keys()
        if not shared:
            start = max([*known.values(), 0]) + 1 - min([*own.values(), 0])
            ids = {image_id: image_id + start for image_id in own.values()}
            truth["images"] += [{**image, "id": ids[image["id"]]} for image in run.ground_truth["images"]]
            truth["annotations"] += _moved(run.ground_truth["annotations"], ids, classes)
            models[0] += _moved(run.predictions, ids, classes)
            boxes |= _boxes(run)
            continue
        if known.keys() != own.keys():
            odd = sorted(known.keys() ^ own.keys())[0]
            raise UserError(
                f"{run.folder}: has {len(shared)} images in common with the other runs, but not {odd}; give "
                "validations of the same images, or of quite different ones"
            )
        if different := sorted(name for name, of_image in _boxes(run).items() if of_image != boxes[name]):
            raise UserError(f"{run.folder}: has other labels of {different[0]} than {first.folder}; validate both anew")
        models.append(_moved(run.predictions, {own[name]: known[name] for name in own}, classes))
    return truth, models


def _classes(truth: dict[str, Any], run: Validation) -> dict[int, int]:
    """Give the ids of a run's categories in the joined labels."""
    known = {str(category["name"]): category["id"] for category in truth["categories"]}
    own = {category["id"]: str(category["name"]) for category in run.ground_truth["categories"]}
    if set(own.values()) != known.keys():
        raise UserError(f"{run.folder}: has the classes {sorted(own.values())}, the other runs have {sorted(known)}")
    return {category_id: known[name] for category_id, name in own.items()}


def _moved(entries: Sequence[dict[str, Any]], images: dict[int, int], classes: dict[int, int]) -> list[dict[str, Any]]:
    return [
        {**entry, "image_id": images[entry["image_id"]], "category_id": classes[entry["category_id"]]}
        for entry in entries
        if entry["image_id"] in images
    ]


def _boxes(run: Validation) -> dict[str, list[Any]]:
    """Give the labels of each image, by its name, as what can be compared."""
    names = {category["id"]: str(category["name"]) for category in run.ground_truth["categories"]}
    files = {image["id"]: image["file_name"] for image in run.ground_truth["images"]}
    found: dict[str, list[Any]] = defaultdict(list)
    for entry in run.ground_truth["annotations"]:
        label = (names[entry["category_id"]], *entry["bbox"], bool(entry.get("iscrowd")))
        found[files[entry["image_id"]]].append(label)
    return {name: sorted(found[name]) for name in files.values()}
