"""Detection in tiles by SAHI (`pip install 'moat_det[sliced]'`), to compare with one pass over the whole image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import torch

from moat_det.benchmark.cases import DetectorCase, parse_size
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

    SAHI's defaults hold: tiles overlap by a fifth, and the whole image is looked at once more, scaled down to a tile.

    Raises:
        UserError: SAHI is missing.
    """
    check_installed()
    from sahi.predict import get_sliced_prediction

    tile = int(case.tiles)
    image = random_images(1, *parse_size(case.imgsz))[0].permute(1, 2, 0).numpy()
    tiles = _adapter(case, tile)

    def run() -> object:
        return get_sliced_prediction(image, tiles, slice_height=tile, slice_width=tile, verbose=0)

    return run


def _adapter(case: DetectorCase, tile: int) -> Any:
    """Give our model, or a peer, as SAHI wants it."""
    from sahi.models.base import DetectionModel
    from sahi.prediction import ObjectPrediction
    from sahi.utils.compatibility import fix_full_shape_list, fix_shift_amount_list

    class Adapter(DetectionModel):
        """Detects in one tile, or in an image scaled down to one."""

        def load_model(self) -> None:
            self.model = build(case)

        def perform_inference(self, image: Any) -> None:
            self._scale = image.shape[1] / tile, image.shape[0] / tile
            if image.shape[:2] != (tile, tile):
                image = cv2.resize(image, (tile, tile), interpolation=cv2.INTER_AREA)
            images = torch.from_numpy(image).permute(2, 0, 1)[None].to(case.device)
            with torch.inference_mode():
                predictions, level_sizes = read_output(self.model(images))
                if getattr(self.model, "end2end", False):  # the engine's models that need no suppression
                    found = predictions[0][predictions[0][:, 4] > CONF]
                else:
                    found = non_max_suppression(predictions, CONF, IOU, level_sizes=level_sizes).kept[0]
            self._original_predictions = found.tolist()

        def _create_object_prediction_list_from_original_predictions(
            self, shift_amount_list: Any = None, full_shape_list: Any = None
        ) -> None:
            across, down = self._scale
            (shift,), full_shapes = fix_shift_amount_list(shift_amount_list), fix_full_shape_list(full_shape_list)
            found = [
                ObjectPrediction(
                    bbox=[x1 * across, y1 * down, x2 * across, y2 * down],
                    category_id=int(label),
                    category_name=self.model.names[int(label)],
                    score=score,
                    shift_amount=shift,
                    full_shape=full_shapes[0] if full_shapes else None,
                )
                for x1, y1, x2, y2, score, label in self._original_predictions
            ]
            self._object_prediction_list_per_image = [found]

    return Adapter(device=case.device, confidence_threshold=CONF)
