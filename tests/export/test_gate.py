"""A file that does not give what its checkpoint gives is not kept: broken graphs, wrong facts, lost AP."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from moat_det import MOAT
from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.detection.detections import Detections
from moat_det.errors import UserError
from moat_det.export import export as exporting
from moat_det.export import formats
from moat_det.export.accuracy import Accuracy, Judge
from moat_det.export.graph import Predictions
from moat_det.export.subject import Subject
from moat_det.runtime import RuntimeDetector, load
from moat_det.runtime.metadata import Metadata

Export = Callable[..., Path]


def test_a_graph_without_normalisation_is_not_kept(
    checkpoint: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = formats.write

    def without_normalisation(format: str, model: Predictions, *args: object, **options: object) -> None:
        normalize = model.detector.model.normalize
        mean = normalize.mean.clone()
        normalize.mean.zero_()
        write(format, model, *args, **options)  # type: ignore[arg-type]
        normalize.mean.copy_(mean)

    monkeypatch.setattr(formats, "write", without_normalisation)
    message = r"does not agree with best\.pt: raw boxes .* px .*most in .*not kept: export another --format or --imgsz"
    with pytest.raises(UserError, match=message):
        MOAT(checkpoint).export(format="torchscript", data=str(images), images=2, out=str(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_swapped_names_are_found_in_the_outputs(
    checkpoint: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Subject.metadata

    def swapped(*args: object) -> Metadata:
        found = honest(*args)  # type: ignore[arg-type]
        found.names.reverse()
        return found

    monkeypatch.setattr(Subject, "metadata", swapped)
    with pytest.raises(UserError, match="boxes decoded otherwise"):
        MOAT(checkpoint).export(format="torchscript", data=str(images), images=2, out=str(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_is_killed_leaves_nothing_at_its_place(checkpoint: Path, images: Path, tmp_path: Path) -> None:
    script = (
        "import os, sys\nfrom moat_det import MOAT\nfrom moat_det.export import formats\n"
        "def write(format, model, example, file, **options):\n    file.write_bytes(b'half'); os._exit(9)\n"
        "formats.write = write\nMOAT(sys.argv[1]).export(format='onnx', data=sys.argv[2], images=1, out=sys.argv[3])"
    )
    words = [sys.executable, "-c", script, str(checkpoint), str(images), str(tmp_path / "out")]
    assert subprocess.run(words, check=False, capture_output=True, env=os.environ).returncode == 9
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_left_alone(checkpoint: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="exists and is not empty"):
        MOAT(checkpoint).export(format="torchscript", data=str(images), images=1, out=str(tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


@pytest.fixture(scope="session")
def found_by_itself(checkpoint: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data.yaml of the same images, labelled with what the checkpoint finds in them: of AP it has nearly all."""
    root = tmp_path_factory.mktemp("labelled")
    shutil.copytree(images.parent / "images", root / "images")
    names = list(MOAT(checkpoint).model.names.values())
    (root / "data.yaml").write_text(yaml.safe_dump({"train": "images/train", "val": "images/val", "names": names}))
    model = MOAT(checkpoint)
    for image in sorted((root / "images").glob("*/*.png")):
        (result,) = model.predict(image, imgsz=[96, 128], conf=0.3, max_det=12, amp=False, device="cpu", verbose=False)
        rows = np.column_stack([result.boxes.cls, result.boxes.xywhn])
        label = root / "labels" / image.parent.name / f"{image.stem}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text("".join(f"{int(row[0])} {' '.join(f'{v:.6f}' for v in row[1:])}\n" for row in rows))
    return root / "data.yaml"


@pytest.fixture
def written_before(exported: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the OpenVINO file that is there already, whatever is asked for: called int8 it is run in float32."""
    made = exported("openvino")

    def write(format: str, model: object, example: object, file: Path, **_: object) -> None:
        for suffix in (".xml", ".bin"):
            shutil.copy(made / f"best{suffix}", file.with_suffix(suffix))

    monkeypatch.setattr(formats, "write", write)


def shifted(monkeypatch: pytest.MonkeyPatch, pixels: Callable[[int], float]) -> None:
    """Have the file's boxes lie some pixels beside the checkpoint's, by how often it was loaded."""
    loaded: list[int] = []

    class Shifted(RuntimeDetector):
        def predict(self, images: object) -> list[np.ndarray]:
            raw = super().predict(images)  # type: ignore[arg-type]
            for each in raw:
                each[:2] += self.pixels
            return raw

    def load_shifted(folder: Path) -> RuntimeDetector:
        detector = load(folder)
        loaded.append(len(loaded))
        detector.__class__ = Shifted
        detector.pixels = pixels(loaded[-1])  # type: ignore[attr-defined]
        return detector

    monkeypatch.setattr(exporting, "load", load_shifted)


@pytest.mark.usefixtures("written_before")
def test_ap_of_both_sides_is_kept(checkpoint: Path, found_by_itself: Path, tmp_path: Path, log: list[str]) -> None:
    options = {"format": "openvino", "precision": "int8", "data": str(found_by_itself), "out": str(tmp_path / "out")}
    accuracy = MOAT(checkpoint).export(**options).accuracy
    assert accuracy is not None
    assert accuracy.checkpoint > 0.5
    assert accuracy.low <= accuracy.difference <= accuracy.high
    assert abs(accuracy.difference) < 1e-3
    assert json.loads((tmp_path / "out" / "parity.json").read_text())["accuracy"] == accuracy.to_dict()
    assert any("AP is compared on 4 images: of so few" in line for line in log)


@pytest.mark.usefixtures("written_before")
def test_a_file_that_loses_ap_is_not_kept(
    checkpoint: Path, found_by_itself: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shifted(monkeypatch, lambda time: 3)
    options = {"format": "openvino", "precision": "f16", "data": str(found_by_itself), "out": str(tmp_path / "out")}
    message = (
        r"in f16 does not agree with best\.pt: AP .* against .*points \[-.*on 4 images \(it may lose 0\.3\); .* f32,"
    )
    with pytest.raises(UserError, match=message):
        MOAT(checkpoint).export(**options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("written_before")
def test_int8_that_loses_ap_is_tried_again_with_accuracy_control(
    checkpoint: Path, found_by_itself: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shifted(monkeypatch, lambda time: 0 if time else 3)
    controls, write = [], formats.write

    def spy(*args: object, **options: object) -> None:
        controls.append(options["calibration"].ap is not None)  # type: ignore[attr-defined]
        write(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(formats, "write", spy)
    options = {"format": "openvino", "precision": "int8", "data": str(found_by_itself), "out": str(tmp_path / "out")}
    assert abs(MOAT(checkpoint).export(**options).accuracy.difference) < 1e-3  # type: ignore[union-attr]
    assert controls == [False, True]


@pytest.mark.usefixtures("written_before")
def test_where_the_checkpoint_finds_nothing_the_gate_says_so(
    checkpoint: Path, images: Path, tmp_path: Path, log: list[str]
) -> None:
    MOAT(checkpoint).export(format="openvino", precision="bf16", data=str(images), out=str(tmp_path / "out"))
    assert any("so the comparison proves nothing" in line for line in log)


def test_a_difference_is_that_of_the_detections() -> None:
    square = np.array([[10.0, 10, 30, 30]])
    labelled = [LabelledImage(f"{number}.png", 40, 40, np.array([0]), square) for number in range(8)]
    judge = Judge(labelled, {0: "pit"})
    right = Detections(square, np.array([0.9]), np.array([0]), {0: "pit"})
    wrong = replace(right, xyxy=square + 100)
    for number, image in enumerate(labelled):
        judge.add(Path(image.path), right, wrong if number < 4 else right)
    accuracy = judge.result()
    assert (accuracy.checkpoint, accuracy.images, accuracy.objects) == (pytest.approx(1), 8, 8)
    assert accuracy.low < accuracy.difference < accuracy.high < 0
    assert "it may lose 0.5" in accuracy.fault("int8")


@pytest.mark.parametrize(
    ("precision", "lost", "fault"),
    [("bf16", 0.0029, False), ("bf16", 0.0031, True), ("int8", 0.0049, False), ("int8", 0.0051, True)],
)
def test_how_much_may_be_lost(precision: str, lost: float, fault: bool) -> None:
    assert bool(Accuracy(100, 300, 0.5, 0.5 - lost, -lost, -0.01, 0.01).fault(precision)) == fault
