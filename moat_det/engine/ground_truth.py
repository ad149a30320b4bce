"""The labels of a split as evaluation takes them."""

from __future__ import annotations

import numpy as np

from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.data.loader.dataset import DetectionDataset


def dataset_ground_truth(dataset: DetectionDataset) -> list[LabelledImage]:
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
        for label in dataset.labels
    ]
