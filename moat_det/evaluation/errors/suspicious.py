"""Labels that are probably wrong, the most suspicious first, by what one model, or models of several folds, detect.

The kinds are those of ObjectLab (Tkachenko et al. 2023, arXiv 2309.00832) and labels that nothing finds.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.isotonic import IsotonicRegression

from moat_det.evaluation.errors.overlaps import BACKGROUND_IOU, FOUND_IOU, Entry, ImageMatches, match_images
from moat_det.evaluation.matching import overlaps

SUSPICIONS = {
    "missing": "confident detections without a label",
    "wrong_class": "another class is detected there",
    "misplaced": "the same class is detected beside it",
    "not_found": "nothing detects it",
}
"""Kinds of suspicious labels."""

_LEAST = 0.05  # suspicion from which on one is listed
_WRONG = 0.01  # share of a class's labels that are taken to be wrong in each way, before anything is known


def suspicious_labels(ground_truth: Mapping[str, Any], predictions: Sequence[Sequence[Entry]]) -> list[dict[str, Any]]:
    """Rank the labels that are probably wrong.

    A detection is as credible as those of its class and score are right, by isotonic regression over the whole set; a
    label is as well supported as the detections of its class that overlap it by half or more are credible. Both are the
    means over the models. Suspicious is a credible detection without a label, as much as it is credible; one of another
    class on a label, or one of the same class that overlaps it by less than half, as much as it is credible and the
    label is not supported; and a label that no detection of any model supports, as much as the labels of its class
    usually are. Each label, and each place without one, is listed once: as not found only where nothing contradicts it
    at least half as strongly.

    What model and labels often disagree about says little of a single label: where every fifth scratch is detected
    beside its label, the place of scratches is a matter of taste, or of a weak model. So a suspicion counts by how rare
    its kind is in its class: as s / (1 + f / 0.01), f being the sum of the other suspicions of the kind for each
    label of the class.

    Args:
        ground_truth: The COCO dictionary that a validation writes.
        predictions: Of each model, its detections in all images, in COCO's results format. Models that were trained on
            one half of the labels each see more than one model of all, which has learnt the wrong ones too.

    Returns:
        Entries by falling `suspicion` in [0, 1]: `rank` from 1; `kind`, one of `SUSPICIONS`; `image_id`, `file_name`;
        `class` and `bbox` (x y w h in pixels) of the label, of a missing one those of the detection; `other_class` and
        `other_bbox` of the detection that contradicts the label, else None; `score` of that detection or of the missing
        label's, else None; `iou` of label and detection.
    """
    names = {category["id"]: str(category["name"]) for category in ground_truth["categories"]}
    models = [match_images(ground_truth, found) for found in predictions]
    credible = [_credibility(images) for images in models]
    support = [
        np.mean([_support(images[k], trust[k]) for images, trust in zip(models, credible, strict=True)], axis=0)
        for k in range(len(ground_truth["images"]))
    ]
    usual = _usual_support(models[0], support)
    entries: list[dict[str, Any]] = []
    for k, of_image in enumerate(zip(*models, strict=True)):
        entries += _of_image(of_image, [trust[k] for trust in credible], support[k], usual, names)
    _weigh_by_rarity(entries, Counter(names[label["category_id"]] for label in ground_truth["annotations"]))
    entries = [entry for entry in entries if entry["suspicion"] >= _LEAST]
    entries.sort(key=lambda entry: (-entry["suspicion"], -(entry["score"] or 0)))
    return [{"rank": rank, **entry} for rank, entry in enumerate(entries, 1)]


def _weigh_by_rarity(entries: Sequence[dict[str, Any]], labels: Mapping[str, int]) -> None:
    """Lower the suspicions of kinds that are frequent in their class, of which there are so many labels."""
    total: defaultdict[tuple[str, str], float] = defaultdict(float)
    for entry in entries:
        total[entry["kind"], entry["class"]] += entry["suspicion"]
    for entry in entries:
        others = total[entry["kind"], entry["class"]] - entry["suspicion"]
        frequency = others / max(labels[entry["class"]], 1)
        entry["suspicion"] = round(entry["suspicion"] / (1 + frequency / _WRONG), 4)


def _credibility(images: Sequence[ImageMatches]) -> list[np.ndarray]:
    """Give how often detections of each one's class and score are right, (D,) for each image."""
    classes = np.array([entry["category_id"] for matches in images for entry in matches.found], dtype=int)
    scores = np.array([entry["score"] for matches in images for entry in matches.found], dtype=float)
    right = np.array([match >= 0 for matches in images for match in matches.match], dtype=float)
    credible = np.zeros(len(scores))
    for category_id in np.unique(classes):
        of_class = classes == category_id
        fit = IsotonicRegression(out_of_bounds="clip")
        credible[of_class] = fit.fit_transform(scores[of_class], right[of_class])
    ends = np.cumsum([len(matches.found) for matches in images])
    return np.split(credible, ends[:-1])


def _support(matches: ImageMatches, credible: np.ndarray) -> np.ndarray:
    """Give how credible the best detection at each label is, (G,)."""
    return np.where(matches.same & (matches.ious >= FOUND_IOU), credible[:, None], 0).max(axis=0, initial=0)


def _usual_support(images: Sequence[ImageMatches], support: Sequence[np.ndarray]) -> dict[int, float]:
    """Give the mean support of the labels of each class."""
    classes = np.array([entry["category_id"] for matches in images for entry in matches.objects], dtype=int)
    values = np.concatenate([np.zeros(0), *support])
    return {int(category_id): float(values[classes == category_id].mean()) for category_id in np.unique(classes)}


def _of_image(
    models: Sequence[ImageMatches],
    credible: Sequence[np.ndarray],
    support: np.ndarray,
    usual: Mapping[int, float],
    names: Mapping[int, str],
) -> list[dict[str, Any]]:
    """Give the suspicions of an image, one for each label and place at most."""
    image, objects = models[0].image, models[0].objects
    best: dict[int, dict[str, Any]] = {}
    missing: list[dict[str, Any]] = []
    for detection, trust in _joined(models, credible):
        ious = overlaps([detection], objects)[0]
        same = np.array([entry["category_id"] == detection["category_id"] for entry in objects], dtype=bool)
        if (same & (ious >= FOUND_IOU)).any():
            continue  # it is what supports the label
        other, beside = np.where(same, 0, ious), np.where(same, ious, 0)
        if other.max(initial=0) >= FOUND_IOU:
            kind, label = "wrong_class", int(other.argmax())
        elif beside.max(initial=0) >= BACKGROUND_IOU:
            kind, label = "misplaced", int(beside.argmax())
        elif ious.max(initial=0) < BACKGROUND_IOU:
            missing.append(_entry("missing", trust, image, detection, None, detection["score"], 0.0, names))
            continue
        else:
            continue
        suspicion = trust * (1 - support[label])
        if label not in best or suspicion > best[label]["suspicion"]:
            iou = float(ious[label])
            best[label] = _entry(kind, suspicion, image, objects[label], detection, detection["score"], iou, names)
    for label, entry in enumerate(objects):
        suspicion = usual[entry["category_id"]] * (1 - support[label])
        contradicted = best.get(label)
        if contradicted is None or contradicted["suspicion"] < suspicion / 2:
            best[label] = _entry("not_found", suspicion, image, entry, None, None, 0.0, names)
        else:  # which says more
            contradicted["suspicion"] = max(contradicted["suspicion"], round(suspicion, 4))
    return [*best.values(), *missing]


def _joined(models: Sequence[ImageMatches], credible: Sequence[np.ndarray]) -> list[tuple[Entry, float]]:
    """Join the detections of one thing: of all models, of one class, overlapping by half or more the best of them.

    Returns:
        The detection of the highest score of each, and how credible it is: the mean over the models, 0 of one that has
        none there that is credible enough to be listed.
    """
    entries = [
        (entry, k, trust)
        for k, matches in enumerate(models)
        for entry, trust in zip(matches.found, credible[k], strict=True)
        if trust >= _LEAST
    ]
    entries.sort(key=lambda item: -item[0]["score"])
    joined: list[tuple[Entry, float]] = []
    ious = overlaps([entry for entry, _, _ in entries], [entry for entry, _, _ in entries])
    free = np.ones(len(entries), dtype=bool)
    for first, (entry, _, _) in enumerate(entries):
        if not free[first]:
            continue
        of_models = np.zeros(len(models))
        for other in np.flatnonzero(free & (ious[first] >= FOUND_IOU)):
            candidate, model, trust = entries[other]
            if candidate["category_id"] == entry["category_id"]:
                free[other] = False
                of_models[model] = max(of_models[model], trust)
        joined.append((entry, float(of_models.mean())))
    return joined


def _entry(
    kind: str,
    suspicion: float,
    image: Entry,
    label: Entry,
    other: Entry | None,
    score: float | None,
    iou: float,
    names: Mapping[int, str],
) -> dict[str, Any]:
    return {
        "kind": kind,
        "suspicion": round(float(suspicion), 4),
        "image_id": image["id"],
        "file_name": image["file_name"],
        "class": names[label["category_id"]],
        "bbox": list(label["bbox"]),
        "other_class": names[other["category_id"]] if other else None,
        "other_bbox": list(other["bbox"]) if other else None,
        "score": score,
        "iou": round(iou, 4),
    }
