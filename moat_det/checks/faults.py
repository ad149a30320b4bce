"""What can be wrong with a dataset, how bad each is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Severity(IntEnum):
    """The worst one of a dataset is the exit code of its check."""

    NOTE = 0
    """Read all right; worth knowing."""
    WARNING = 1
    """Training goes on, but the result may not be what is meant."""
    ERROR = 2
    """Training stops at it, loses an image, or learns a contradiction."""


@dataclass(frozen=True)
class Kind:
    """One kind of fault.

    Attributes:
        severity: How bad it is.
        title: What it is, in the plural.
        advice: What happens in training, and what to do.
    """

    severity: Severity
    title: str
    advice: str


@dataclass(frozen=True)
class Fault:
    """One thing that was found.

    Attributes:
        kind: A key of `KINDS`.
        split: The split it was found in; several are joined by "+".
        file: The file at fault.
        detail: Where in the file, and what.
        image: The image to show.
        boxes: xyxy in pixels, to draw into it.
        other: Another image, to show beside it.
    """

    kind: str
    split: str
    file: str
    detail: str = ""
    image: str | None = None
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    other: str | None = None

    @property
    def severity(self) -> Severity:
        """How bad its kind is."""
        return KINDS[self.kind].severity

    @property
    def place(self) -> str:
        """The file and the detail, in one line."""
        return in_one_line(f"{self.file}: {self.detail}" if self.detail else self.file)


def in_one_line(text: str) -> str:
    """Give a text whole, with a question mark for each line end, which the name of a file may have."""
    return "?".join(text.splitlines())


def _error(title: str, advice: str) -> Kind:
    return Kind(Severity.ERROR, title, advice)


def _warning(title: str, advice: str) -> Kind:
    return Kind(Severity.WARNING, title, advice)


def _note(title: str, advice: str) -> Kind:
    return Kind(Severity.NOTE, title, advice)


KINDS = {
    "split_unusable": _error("splits that cannot be read", "correct the path in the dataset YAML"),
    "unreadable_labels": _error("annotation files that cannot be read", "training stops: export the file anew"),
    "malformed_label": _error("malformed labels", "training stops: correct or remove the line or entry"),
    "unknown_class": _error("classes past the list of names", "training stops: add the name, or correct the class"),
    "repeated_id": _error("ids that occur twice in a JSON", "training stops: give every entry its own id"),
    "absent_image": _error("annotations of images that the JSON does not list", "training stops: remove them"),
    "absent_category": _error("annotations of categories that the JSON does not list", "training stops: correct them"),
    "annotated_twice": _error("images with two annotations in one split", "training stops: remove one of them"),
    "image_missing": _error("images that are named but not there", "training leaves them out: restore or unlist them"),
    "unreadable_image": _error("images that cannot be decoded", "training leaves them out: replace or remove them"),
    "truncated_image": _error("images that are cut off", "training leaves them out: copy them anew from the source"),
    "mixed_sample_types": _error(
        "floating images of more than 8 bits where most of train are integers, or the reverse",
        "training or validation stops: bring them to one form, or write 'intensity: image' into the dataset YAML",
    ),
    "duplicates_disagree": _error(
        "the same picture with different labels", "one of them teaches or measures wrongly: keep the right one"
    ),
    "duplicate_across_splits": _warning(
        "the same picture in two splits", "what is trained on is measured on: remove it from train"
    ),
    "duplicate_image": _warning("the same picture twice in a split", "it counts twice: remove one"),
    "near_duplicate_across_splits": _warning(
        "nearly the same picture in two splits", "AP comes out too good: put both into one split"
    ),
    "group_leak": _warning("groups in two splits", "AP comes out too good: split anew by group (moat convert)"),
    "box_without_area": _warning(
        "boxes without area within the image",
        "training drops them, and an image without another box counts as a good part: draw them anew",
    ),
    "box_past_edge": _warning("boxes past the image's edge", "training clips them: see whether they belong here"),
    "duplicate_box": _warning("boxes that stand there twice", "training drops the second: remove it"),
    "box_of_two_classes": _warning("one box with two classes", "each contradicts the other: keep the right class"),
    "tiny_box": _warning("boxes with a side under 2 pixels", "hardly an object: see whether they are slips"),
    "wrong_size": _warning(
        "annotations that declare another size than the image has",
        "the image counts: see whether it was scaled or turned after it was labelled",
    ),
    "image_without_label": _warning(
        "images without label file, where nearly all others have one",
        "they train as good parts: label them, or add an empty file if they are good",
    ),
    "label_without_image": _warning("label files without image", "they are not used: restore the image"),
    "shared_label_file": _warning("images that share a label file", "both get its boxes: rename one"),
    "mixed_depths": _warning(
        "images of another depth than most of train",
        "8 bits stay as they are, more are mapped by 'intensity': the same part may look different",
    ),
    "class_absent_from_train": _warning("classes to be found that train has no box of", "split the data anew"),
    "class_without_box": _warning("classes without any box", "remove the name, or see why its labels are missing"),
    "similar_names": _warning("class names that differ by case or spaces alone", "make them one class"),
    "near_duplicate": _note(
        "nearly the same picture twice in a split",
        "it counts twice; where the labels differ, see whether a box is missing",
    ),
    "class_missing_from_split": _note("classes that a split has no box of", "their AP is not measured there"),
    "class_imbalance": _note("rare classes in train", "collect more, or paste them (see the recommendations)"),
    "good_parts": _note("splits of mostly good parts", "right for inspection, as long as none is a forgotten label"),
    "empty_label": _note("empty label files", "good parts: nothing to do"),
    "crlf": _note("label files with Windows line ends", "read all right"),
    "polygon": _note("polygons among the labels", "the box around each is used"),
    "unused_files": _warning(
        "files that are neither images nor labels",
        "not used: if they are pictures, save them in a format with one of the known endings, else move them away",
    ),
    "several_pictures": _warning(
        "files that hold several pictures", "the first alone is used: save each picture as a file of its own"
    ),
    "text_beside_labels": _note("text files beside the labels that are no labels", "not used"),
    "image_not_listed": _note(
        "images that no annotation of the dataset lists", "not used: list them, without boxes if they are good"
    ),
    "long_box": _note("boxes longer than 20 times their width", "fine for scratches: see whether any is a slip"),
    "deep_image": _note("images of more than 8 bits", "'intensity' in the dataset YAML says how they become 8"),
    "mixed_channels": _note("gray images among colour ones, or the reverse", "all are read as `channels` asks"),
    "turned_by_exif": _note(
        "images that turn by EXIF", "pixels are turned, boxes are not: they count as those of the upright picture"
    ),
    "upper_case_suffix": _note("image names with an upper-case ending", "read all right"),
    "wrong_suffix": _note("images of another format than their name says", "read all right"),
}
"""Every kind, by name, the worst first."""
