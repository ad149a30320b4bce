"""Prediction: the engine's sources, pictures and `Results`, with our suppression and atomic files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
from torch import Tensor
from ultralytics.engine.results import Results
from ultralytics.models.yolo.detect import DetectionPredictor

from moat_det.engine.device import choose_device, use_all_cores
from moat_det.errors import UserError
from moat_det.files import atomic_write_bytes
from moat_det.models.nms import non_max_suppression
from moat_det.models.precision import prepare


class Predictor(DetectionPredictor):
    """Detects in images, videos and streams.

    Attributes:
        unreadable: The image files of the last run that could not be read.
    """

    args: Any
    unreadable: list[Path]

    def setup_model(self, model: Any, verbose: bool = False) -> None:
        """Move the model to `args.device`, folded and in that device's number format."""
        device = choose_device(self.args.device)
        prepare(model, device, mixed=self.args.amp not in {False, "fp32"} and self.args.quantize != 32)
        super().setup_model(model, verbose)
        use_all_cores()

    def setup_source(self, source: Any, stride: int | None = None) -> None:
        """Open the source.

        Raises:
            UserError: It does not exist, holds nothing to detect in, or cannot be opened.
        """
        try:
            super().setup_source(source, stride)
        except (FileNotFoundError, ConnectionError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"--source {source}: {reason}; give an image, folder, glob, list file, video or camera"
            ) from None
        self._seen_files: set[str] = set()
        self.unreadable = []

    def postprocess(self, preds: Any, img: Tensor, orig_imgs: Any, **kwargs: Any) -> list[Results]:
        """Suppress double detections and scale the rest to the original pixels."""
        kept = non_max_suppression(
            preds[0] if isinstance(preds, (list, tuple)) else preds,
            self.args.conf,
            kwargs.pop("iou", self.args.iou),
            classes=self.args.classes,
            agnostic=self.args.agnostic_nms,
            max_det=self.args.max_det,
        )
        self._seen_files.update(self.batch[0])
        return self.construct_results(kept, img, orig_imgs)

    def run_callbacks(self, event: str) -> None:
        """Run the user's callbacks; at the end find out which files could not be read."""
        if event == "on_predict_end":
            images = getattr(self.dataset, "files", [])[: getattr(self.dataset, "ni", 0)]
            self.unreadable = [Path(file) for file in images if file not in self._seen_files]
        super().run_callbacks(event)

    def save_predicted_images(self, save_path: Path, frame: int | None = 0) -> None:
        """Write the picture with boxes atomically; frames of a video go to the engine's writer."""
        if self.dataset.mode in {"stream", "video"}:
            super().save_predicted_images(save_path, frame)
            return
        encoded, content = cv2.imencode(".jpg", self.plotted_img)
        if not encoded:
            raise UserError(f"{save_path}: the picture of {self.plotted_img.shape} could not be encoded as JPEG")
        atomic_write_bytes(save_path.with_suffix(".jpg"), content.tobytes())
