"""The labels of an index as evaluation takes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from moat_det.data.formats.labelled_image import LabelledImage

ONE_CLASS = "item"
"""What the class is called that all are with `single_cls`."""


def keep_classes(label: dict[str, Any], classes: Sequence[int] | None, single_cls: bool) -> None:
    """Keep the boxes of the classes asked for; all become class 0 with `single_cls`.

    Args:
        label: Of an image, as `SplitIndex.labels` gives it; changed in place.
        classes: Their numbers; None keeps all.
        single_cls: Whether all become one.
    """
    for cls, boxes in (("cls", ("bboxes", "boxes_xyxy")), ("ignored_cls", ("ignored_xyxy",))):
        if classes is not None:
            kept = np.isin(label[cls][:, 0], classes)
            label |= {key: label[key][kept] for key in (cls, *boxes)}
        if single_cls:
            label[cls] = np.zeros_like(label[cls])


def labelled_images(labels: Iterable[dict[str, Any]]) -> list[LabelledImage]:
    """Give the boxes and the ignored regions of each image, in pixels of its file."""
    return [
        LabelledImage(
            path=label["im_file"],
            height=label["shape"][0],
            width=label["shape"][1],
            boxes=np.concatenate([label["boxes_xyxy"], label["ignored_xyxy"]]),
            classes=np.concatenate([label["cls"], label["ignored_cls"]]).reshape(-1).astype(int),
            ignored=np.repeat([False, True], [len(label["cls"]), len(label["ignored_cls"])]),
        )
        for label in labels
    ]
