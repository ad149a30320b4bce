"""Validation and detection on images of several shapes: the same inputs, and boxes that lie on what is drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from moat_det.data.sizes.letterbox import PADDING
from moat_det.detector.detector import Detector
from moat_det.engine import MOAT
from moat_det.engine.predictor import Predictor
from moat_det.engine.validator import Validator

# A long strip whose boxes were 26 px off, sides that are rounded once scaled, and two that share a padded shape.
SHAPES = [(207, 4096), (501, 1001), (313, 207), (480, 640), (640, 480), (470, 640), (96, 96)]
BOXES = [(int(0.6 * w), int(0.3 * h), int(0.8 * w), int(0.7 * h)) for h, w in SHAPES]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data.yaml of images with a bright rectangle each, on the gray of the padding."""
    root = tmp_path_factory.mktemp("drawn")
    for folder in ("images", "labels"):
        (root / folder).mkdir()
    for number, ((height, width), (x1, y1, x2, y2)) in enumerate(zip(SHAPES, BOXES, strict=True)):
        image = np.full((height, width, 3), PADDING, np.uint8)
        image[y1:y2, x1:x2] = 255
        cv2.imwrite(str(root / "images" / f"{number}.png"), image)
        shares = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
        (root / "labels" / f"{number}.txt").write_text("0 " + " ".join(f"{share:.8f}" for share in shares) + "\n")
    (root / "data.yaml").write_text("train: images\nval: images\nnames: [bright]\n")
    return root / "data.yaml"


def find_bright(self: Detector, images: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Stands in for a detector: (B, 5, 1), the box around the bright pixels, to a share of a pixel, and a score."""
    found = []
    for image in (images[:, 0].float() - PADDING).clamp(0).cpu().numpy() / (255 - PADDING):
        spans = [image.max(axis=axis) for axis in (0, 1)]
        centres = [span @ (np.arange(len(span)) + 0.5) / span.sum() for span in spans]
        found.append([*centres, *(span.sum() for span in spans), 0.9])
    return torch.tensor(np.array(found), dtype=torch.float32, device=images.device)[..., None]


@pytest.mark.parametrize("imgsz", [640, [320, 640], "native"])
@pytest.mark.parametrize("batch", [1, 4])
def test_boxes_lie_on_what_is_drawn(
    imgsz: Any, batch: int, drawn: Path, model_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Detector, "forward", find_bright)
    model = MOAT(model_yaml)
    model.model.names = {0: "bright"}
    common: dict[str, Any] = {"imgsz": imgsz, "batch": batch, "amp": False, "project": str(tmp_path)}
    metrics = model.val(data=str(drawn), plots=False, workers=0, **common)
    assert pytest.approx(1, abs=1e-3) == metrics.AP
    rows = json.loads((tmp_path / "val" / "predictions.json").read_text())
    written = {row["image_id"]: row["bbox"] for row in rows}
    results = model.predict(str(drawn.parent / "images"), verbose=False, **common)
    assert len(rows) == len(results) == len(SHAPES)
    for number, (result, box) in enumerate(zip(results, BOXES, strict=True), 1):
        (found,) = result.boxes.xyxy.cpu().numpy()
        side = 640 if imgsz == 640 else 320
        pixel = 1 if imgsz == "native" else max(max(result.orig_shape) / side, 1)  # one of the input, in the file
        np.testing.assert_allclose(found, box, atol=0.1 * pixel)
        x, y, width, height = written[number]
        np.testing.assert_allclose([x, y, x + width, y + height], found, atol=0.002)  # the file is rounded


@pytest.mark.parametrize("imgsz", ["160", "native"])
def test_validation_and_detection_give_the_model_the_same_images(
    imgsz: str, drawn: Path, model_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Detector, "forward", find_bright)
    seen: list[list[Tensor]] = []
    validate, detect = Validator.preprocess, Predictor.preprocess

    def keep_val(self: Any, batch: Any) -> Any:
        made = validate(self, batch)
        seen[-1] += made["img"]
        return made

    def keep_detect(self: Any, images: Any) -> Any:
        made = detect(self, images)
        seen[-1] += made
        return made

    monkeypatch.setattr(Validator, "preprocess", keep_val)
    monkeypatch.setattr(Predictor, "preprocess", keep_detect)
    model = MOAT(model_yaml)
    model.model.names = {0: "bright"}
    for batch in (1, 4):
        common: dict[str, Any] = {"imgsz": int(imgsz) if imgsz.isdigit() else imgsz, "batch": batch, "amp": False}
        seen.append([])
        model.val(data=str(drawn), plots=False, workers=0, project=str(tmp_path), **common)
        seen.append([])
        model.predict(str(drawn.parent / "images"), verbose=False, project=str(tmp_path), **common)
    known = {image.cpu().numpy().tobytes(): tuple(image.shape) for image in seen[0]}
    assert len(known) == len(SHAPES)
    for images in seen[1:]:
        assert {image.cpu().numpy().tobytes(): tuple(image.shape) for image in images} == known


@pytest.mark.parametrize(("other", "expected"), [((96, 160), (64, 96)), ((160, 96), (96, 96))])
def test_cameras_of_several_shapes_come_in_squares(
    other: tuple[int, int], expected: tuple[int, int], model_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Detector, "forward", find_bright)
    videos = []
    for number, (height, width) in enumerate([(96, 160), other]):
        videos.append(str(tmp_path / f"{number}.avi"))
        writer = cv2.VideoWriter(videos[-1], cv2.VideoWriter.fourcc(*"MJPG"), 10, (width, height))
        image = np.full((height, width, 3), PADDING, np.uint8)
        image[height // 4 : height // 2, width // 4 : width // 2] = 255
        for _ in range(8):
            writer.write(image)
        writer.release()
    (tmp_path / "cameras.streams").write_text("\n".join(videos))
    model = MOAT(model_yaml)
    inputs: list[tuple[int, ...]] = []
    detect = Predictor.preprocess

    def keep(self: Any, images: Any) -> Any:
        made = detect(self, images)
        inputs.append(tuple(made.shape[2:]))
        return made

    monkeypatch.setattr(Predictor, "preprocess", keep)
    results = model.predict(str(tmp_path / "cameras.streams"), imgsz=96, stream=True, verbose=False, amp=False)
    for (height, width), result in zip([(96, 160), other], results, strict=False):
        (found,) = result.boxes.xyxy.cpu().numpy()
        np.testing.assert_allclose(found, [width / 4, height / 4, width / 2, height / 2], atol=2)
    results.close()
    assert set(inputs) == {expected}
