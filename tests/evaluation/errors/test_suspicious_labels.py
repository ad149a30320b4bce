from __future__ import annotations

from typing import Any

import numpy as np

from moat_det.evaluation.errors import suspicious_labels

Box = list[float]


def planted() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """200 parts, a scratch and a pit on each, which a good model finds; four labels are wrong."""
    rng = np.random.default_rng(0)
    images, annotations, predictions = [], [], []
    for image in range(1, 201):
        images.append({"id": image, "file_name": f"{image}.png", "width": 300, "height": 300})
        for category, x in ((1, 20), (2, 200)):
            box: Box = [x, 50.0, 40.0, 40.0]
            annotations.append({"id": len(annotations) + 1, "image_id": image, "category_id": category, "bbox": box})
            score = round(float(rng.uniform(0.6, 0.95)), 3)
            predictions.append({"image_id": image, "category_id": category, "bbox": box, "score": score})
        # What every model does: low scores beside everything.
        predictions.append({"image_id": image, "category_id": 1, "bbox": [100, 200, 30, 30], "score": 0.05})
    categories = [{"id": 1, "name": "scratch"}, {"id": 2, "name": "pit"}]
    annotations[10]["category_id"] = 2  # image 6: a scratch that is called a pit
    annotations[30]["bbox"] = [45.0, 50.0, 40.0, 40.0]  # image 16: beside its scratch
    annotations[51]["bbox"] = [200.0, 240.0, 20.0, 20.0]  # image 26: far from its pit
    del annotations[70]  # image 36: the scratch
    return {"images": images, "annotations": annotations, "categories": categories}, predictions


def test_what_was_planted_comes_first() -> None:
    truth, predictions = planted()
    ranked = suspicious_labels(truth, [predictions])
    assert [entry["rank"] for entry in ranked] == list(range(1, len(ranked) + 1))
    first = {(entry["kind"], entry["image_id"]) for entry in ranked[:5]}
    # A label far from what is found is two: a missing one there, and one that nothing finds here.
    assert first == {("wrong_class", 6), ("misplaced", 16), ("missing", 26), ("not_found", 26), ("missing", 36)}
    assert all(entry["suspicion"] < 0.1 for entry in ranked[5:])
    swapped = next(entry for entry in ranked if entry["kind"] == "wrong_class")
    assert (swapped["class"], swapped["other_class"], swapped["file_name"]) == ("pit", "scratch", "6.png")
    missing = next(entry for entry in ranked if entry["image_id"] == 36)
    assert (missing["class"], missing["bbox"], missing["other_bbox"]) == ("scratch", [20, 50, 40, 40], None)


def test_what_two_models_see_counts_more_than_what_one_does() -> None:
    truth, predictions = planted()
    alone = {"image_id": 1, "category_id": 1, "bbox": [20, 200, 40, 40], "score": 0.9}
    both = {"image_id": 2, "category_id": 1, "bbox": [20, 200, 40, 40], "score": 0.9}
    ranked = suspicious_labels(truth, [[*predictions, alone, both], [*predictions, both]])
    found = {entry["image_id"]: entry for entry in ranked if entry["kind"] == "missing"}
    assert found[2]["suspicion"] > 1.8 * found[1]["suspicion"]
    # A label that one of two models finds is no suspect: that of image 1 is found by the second alone.
    first = [entry for entry in predictions if (entry["image_id"], entry["category_id"]) != (1, 2)]
    ranked = suspicious_labels(truth, [first, predictions])
    suspicion = {entry["image_id"]: entry["suspicion"] for entry in ranked if entry["kind"] == "not_found"}
    assert suspicion[1] < 0.6 * suspicion[26]


def test_a_class_that_is_never_found_is_not_suspected_whole() -> None:
    truth, predictions = planted()
    no_pits = [entry for entry in predictions if entry["category_id"] == 1]
    ranked = suspicious_labels(truth, [no_pits])
    assert sum(entry["class"] == "pit" and entry["kind"] == "not_found" for entry in ranked) == 0


def test_nothing_to_suspect() -> None:
    truth, _ = planted()
    assert suspicious_labels(truth, [[]]) == []
    assert suspicious_labels({**truth, "annotations": [], "images": []}, [[]]) == []
