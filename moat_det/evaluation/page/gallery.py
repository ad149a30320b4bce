"""Pictures of a validation's errors and of its suspicious labels: the truth beside the detection."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from moat_det.data.images.intensity import Intensity
from moat_det.data.images.shown import read_rgb
from moat_det.evaluation.errors.overlaps import Entry
from moat_det.evaluation.errors.pictures import boxes_of
from moat_det.progress import progress
from moat_det.report.evidence import truth_beside_found
from moat_det.report.html import jpeg_uri, size_of

_BUDGET = 4_000_000  # bytes of pictures on a page
_EACH = 8  # pictures of a kind and class
_SUSPICIOUS = 24
_SIDE = 220  # pixels of truth and detection each

TITLES = {
    "wrong_class": "wrong class",
    "badly_placed": "badly placed",
    "both": "wrong class and badly placed",
    "duplicate": "second detection of one object",
    "background": "nothing there",
    "below_threshold": "found below the threshold",
    "not_found": "not found",
    "missing": "no label where something is detected",
    "misplaced": "label badly placed",
}
"""What the kinds of errors and of suspicions are called."""


@dataclass(frozen=True)
class Picture:
    """A picture of the gallery.

    Attributes:
        uri: The JPEG.
        group: "false alarm", "miss" or "suspicious label", with the kind.
        class_name: Of the detection, or of the object that was missed.
        caption: What is seen, a plain text.
    """

    uri: str
    group: str
    class_name: str
    caption: str


class Gallery:
    """Draws errors from the pictures of a validation.

    Args:
        paths: Image id to file.
        ground_truth: The COCO dictionary of the labels.
        predictions: The detections, in COCO's results format.
        threshold: Of the detections that are drawn.
        intensity: How more than 8 bits become 8.
        channels: Of the images.
    """

    def __init__(
        self,
        paths: Mapping[int, str],
        ground_truth: Mapping[str, Any],
        predictions: Sequence[Entry],
        threshold: float,
        intensity: Intensity,
        channels: int,
    ) -> None:
        self._paths, self._intensity, self._channels = paths, intensity, channels
        self._names = {category["id"]: str(category["name"]) for category in ground_truth["categories"]}
        self._labels: dict[int, list[Entry]] = defaultdict(list)
        self._found: dict[int, list[Entry]] = defaultdict(list)
        for entry in ground_truth["annotations"]:
            self._labels[entry["image_id"]].append(entry)
        for entry in predictions:
            if entry["score"] >= threshold:
                self._found[entry["image_id"]].append(entry)

    def errors(self, errors: Sequence[Mapping[str, Any]]) -> list[Picture]:
        """Draw some of each kind and class, as `errors.json` lists them, until the page has no more room."""
        kinds: dict[tuple[str, ...], list[Mapping[str, Any]]] = defaultdict(list)
        for error in errors:
            kinds[error["type"], error["kind"], error["class"]].append(error)
        chosen = [entries[:_EACH] for entries in kinds.values()]
        turns = [entry for turn in zip_longest(*chosen) for entry in turn if entry is not None]  # of each kind in turn
        drawn = list(self._draw(turns, "drawing errors"))
        return sorted(drawn, key=lambda picture: (picture.group, picture.class_name))

    def suspicious(self, entries: Sequence[Mapping[str, Any]]) -> list[Picture]:
        """Draw the most suspicious labels, as `errors.json` ranks them."""
        return list(self._draw([{**each, "type": "label"} for each in entries[:_SUSPICIOUS]], "drawing labels"))

    def _draw(self, entries: Sequence[Mapping[str, Any]], what: str) -> Iterator[Picture]:
        used = 0
        for entry in progress(entries, what, unit="picture", leave=False):
            try:
                image = read_rgb(self._paths[entry["image_id"]], self._intensity, self._channels)
            except (KeyError, OSError):
                continue  # moved since: the errors are counted in the tables all the same
            one, other = (entry["bbox"], entry["class"]), (entry["other_bbox"], entry["other_class"])
            # A false alarm and a missing label are about a detection; all else is about a label.
            about_found = entry["type"] == "false_alarm" or entry["kind"] == "missing"
            label, detection = (other, one) if about_found else (one, other)
            image_id = entry["image_id"]
            truth = boxes_of(self._labels[image_id], image_id, label if label[0] else None, self._names)
            found = boxes_of(self._found[image_id], image_id, detection if detection[0] else None, self._names)
            uri = jpeg_uri(truth_beside_found(image, truth, found, "left: labels, right: detections", _SIDE))
            used += size_of([uri])
            if used > _BUDGET:
                return
            yield Picture(uri, _group(entry), entry["class"], _caption(entry))


def _group(entry: Mapping[str, Any]) -> str:
    return f"{entry['type'].replace('_', ' ')}: {TITLES.get(entry['kind'], entry['kind'])}"


def _caption(entry: Mapping[str, Any]) -> str:
    words = [str(entry["file_name"]), _group(entry), str(entry["class"])]
    if entry["other_class"] and entry["other_class"] != entry["class"]:
        words[-1] += f" / {entry['other_class']}"
    if entry.get("score") is not None:
        words.append(f"score {entry['score']:.3f}")
    if entry.get("iou"):
        words.append(f"overlap {entry['iou']:.2f}")
    if "suspicion" in entry:
        words.append(f"suspicion {entry['suspicion']:.2f}")
    return "; ".join(words)
