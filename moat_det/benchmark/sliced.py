"""Detection in tiles by SAHI (`pip install 'moat_det[sliced]'`), to compare with one pass over the whole image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import torch

from moat_det.benchmark.cases import DetectorCase
from moat_det.benchmark.passes import build, random_images
from moat_det.detector.nms import non_max_suppression, read_output
from moat_det.errors import UserError

CONF = 0.25
IOU = 0.7


def check_installed() -> None:
    """Raise `UserError` where SAHI is missing."""
    try:
        import sahi  # noqa: F401
    except ImportError:
        raise UserError("--sliced needs SAHI: pip install 'moat_det[sliced]' (or pip install sahi)") from None


def sliced_pass(case: DetectorCase) -> Callable[[], object]:
    """Set up everything, and return a function that detects in all tiles and merges what they found.

    Raises:
        UserError: SAHI is missing.
    """
    tile = int(case.tiles)
    model = build(case)
    image = random_images(case)[0].permute(1, 2, 0).numpy()

    def detect(image: np.ndarray) -> list[list[float]]:
        across, down = image.shape[1] / tile, image.shape[0] / tile
        if image.shape[:2] != (tile, tile):
            image = cv2.resize(image, (tile, tile), interpolation=cv2.INTER_AREA)
        images = torch.from_numpy(image).permute(2, 0, 1)[None].to(case.device)
        with torch.inference_mode():
            predictions, level_sizes = read_output(model(images))
            if getattr(model, "end2end", False):  # the engine's models that need no suppression
                found = predictions[0][predictions[0][:, 4] > CONF]
            else:
                found = non_max_suppression(predictions, CONF, IOU, level_sizes=level_sizes).kept[0]
        return (found * found.new_tensor([across, down, across, down, 1, 1])).tolist()

    detector = SlicedDetector(detect, model.names, tile, CONF)
    return lambda: detector(image)


class SlicedDetector:
    """Detects in the tiles of an image, and merges what they found, with SAHI's defaults.

    Tiles overlap by a fifth, and the whole image is looked at once more, scaled down to a tile.

    Args:
        detect: Gives of an image (H, W, 3) a list of x1, y1, x2, y2 in its pixels, score and class.
        names: Class index -> name.
        tile: Side of the tiles in pixels.
        conf: Least score of a detection.
        **merging: SAHI's arguments, such as `postprocess_type`, where its defaults do not hold.

    Raises:
        UserError: SAHI is missing.
    """

    def __init__(
        self,
        detect: Callable[[np.ndarray], list[list[float]]],
        names: Mapping[int, str],
        tile: int,
        conf: float,
        **merging: Any,
    ) -> None:
        check_installed()
        self._arguments = {"slice_height": tile, "slice_width": tile, "verbose": 0, **merging}
        self._adapter = _adapter(detect, names, conf)

    def __call__(self, image: np.ndarray) -> Any:
        """Detect in an image (H, W, 3), uint8; gives SAHI's result, which has an `object_prediction_list`."""
        from sahi.predict import get_sliced_prediction

        return get_sliced_prediction(image, self._adapter, **self._arguments)


def count_passes(height: int, width: int, tile: int) -> int:
    """Give how often a model looks at an image of so many pixels: at each tile, and at the whole if there are several.

    Raises:
        UserError: SAHI is missing.
    """
    check_installed()
    from sahi.slicing import get_slice_bboxes

    tiles = len(get_slice_bboxes(height, width, slice_height=tile, slice_width=tile))
    return tiles + (tiles > 1)


def _adapter(detect: Callable[[np.ndarray], list[list[float]]], names: Mapping[int, str], conf: float) -> Any:
    """Give a detector as SAHI wants it."""
    from sahi.models.base import DetectionModel
    from sahi.prediction import ObjectPrediction
    from sahi.utils.compatibility import fix_full_shape_list, fix_shift_amount_list

    class Adapter(DetectionModel):
        """Detects in one tile, or in the whole image."""

        def load_model(self) -> None:
            self.model = detect

        def perform_inference(self, image: Any) -> None:
            self._original_predictions = detect(image)

        def _create_object_prediction_list_from_original_predictions(
            self, shift_amount_list: Any = None, full_shape_list: Any = None
        ) -> None:
            (shift,), full_shapes = fix_shift_amount_list(shift_amount_list), fix_full_shape_list(full_shape_list)
            found = [
                ObjectPrediction(
                    bbox=box,
                    category_id=int(label),
                    category_name=names[int(label)],
                    score=score,
                    shift_amount=shift,
                    full_shape=full_shapes[0] if full_shapes else None,
                )
                for *box, score, label in self._original_predictions
            ]
            self._object_prediction_list_per_image = [found]

    return Adapter(device="cpu", confidence_threshold=conf)
