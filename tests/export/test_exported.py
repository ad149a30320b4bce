"""What is exported gives what its checkpoint gives; what does not is not kept."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
import yaml

from moat_det import MOAT
from moat_det.cli.main import run
from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.demo import NAMES
from moat_det.detector.build import build_model
from moat_det.errors import UserError
from moat_det.export.calibration import calibrate_on
from moat_det.export.graph import Predictions, trace
from moat_det.runtime import RuntimeDetector, load
from moat_det.runtime.metadata import Metadata
from moat_det.runtime.speed import say_faster

Export = Callable[..., Path]
SLIM = {"name": "slim", "base": "tiny_moat0", "depths": [1, 1, 1, 1], "channels": [8, 16, 32, 32]}


def pictures(images: Path) -> list[Path]:
    return sorted((images.parent / "images" / "val").iterdir())


@pytest.mark.parametrize("format", ["onnx", "openvino", "torchscript"])
def test_the_boxes_of_the_checkpoint(format: str, exported: Export, checkpoint: Path, images: Path) -> None:
    folder = exported(format)
    detector, files = load(folder), pictures(images)
    expected = MOAT(checkpoint).predict(files, imgsz=[96, 128], conf=0.3, amp=False, device="cpu", verbose=False)
    found = detector(files, conf=0.3)
    assert isinstance(found, list)
    assert sum(map(len, found)) > 20
    for ours, theirs in zip(found, expected, strict=True):
        boxes = theirs.boxes.numpy()
        assert len(ours) == len(boxes)
        rows, others = (
            np.column_stack(parts)
            for parts in (
                (ours.cls * 1e4, ours.xyxy, ours.score * 500),
                (boxes.cls * 1e4, boxes.xyxy, boxes.conf * 500),
            )
        )  # in which 0.05 is a score of 1e-4
        apart = np.abs(rows[:, None] - others[None]).max(2)
        assert apart.min(0).max() < 0.05
        assert apart.min(1).max() < 0.05
    report = json.loads((folder / "parity.json").read_text())["parity"]
    assert report["images"] == 4 + 3  # one of the four also turned, cut, and in 16 bits
    assert report["detections"] > 20
    assert report["box"] < 0.05
    assert report["decoded_otherwise"] == 0


@pytest.fixture
def copy(exported: Export, tmp_path: Path) -> Path:
    """A copy of an export, to spoil."""
    folder = tmp_path / "best_torchscript"
    folder.mkdir()
    for file in exported("torchscript").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def test_one_changed_weight_is_refused(copy: Path) -> None:
    file = copy / "best.torchscript"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"best\.torchscript is not the file that was compared"):
        load(copy)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "metadata.json").unlink(), r"has no metadata\.json"),
        (lambda folder: (folder / "parity.json").unlink(), r"has no parity\.json"),
        (lambda folder: (folder / "best.torchscript").unlink(), r"best\.torchscript is missing"),
        (lambda folder: (folder / "metadata.json").write_text("{"), r"metadata\.json cannot be read"),
        (lambda folder: (folder / "metadata.json").write_text('{"artefact": 99}'), "is of version 99"),
        (lambda folder: (folder / "metadata.json").write_text('{"artefact": 1}'), "lacks format, file"),
        (
            lambda folder: (folder / "metadata.json").write_text(
                (folder / "metadata.json").read_text().replace("scratch", "pits")
            ),
            r"metadata\.json is not the file that was compared",
        ),
    ],
)
def test_a_spoilt_artefact_is_refused(spoil: Callable[[Path], object], message: str, copy: Path) -> None:
    spoil(copy)
    with pytest.raises(UserError, match=message):
        load(copy)


def test_file_and_folder_load(copy: Path) -> None:
    assert load(copy).metadata == load(copy / "best.torchscript").metadata
    with pytest.raises(UserError, match="no exported model at"):
        load(copy.with_name("nothing"))
    other = copy / "other.onnx"
    other.touch()
    with pytest.raises(UserError, match=r"which is best\.torchscript"):
        load(other)


def test_a_static_file_takes_its_own_size_alone(copy: Path) -> None:
    assert load(copy, imgsz=(96, 128)).sizes.padded(500, 700) == (96, 128)
    with pytest.raises(UserError, match=r"--imgsz 640: .* takes 96 x 128 alone"):
        load(copy, imgsz=640)


def test_images_of_other_bands_are_refused(copy: Path) -> None:
    detector = load(copy)
    with pytest.raises(UserError, match="the array has 5 bands, the model takes 3"):
        detector(np.zeros((60, 60, 5), np.uint8))


def test_a_picture_in_16_bits_gives_the_same(exported: Export, images: Path, tmp_path: Path) -> None:
    detector, picture = load(exported("torchscript")), pictures(images)[0]
    deep = tmp_path / "deep.png"
    cv2.imwrite(str(deep), cv2.imread(str(picture)).astype(np.uint16) * 257)
    shallow_found, deep_found = detector(picture), detector(deep)
    np.testing.assert_array_equal(shallow_found.xyxy, deep_found.xyxy)  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def places(images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What a user may give in error: a folder that is not empty, data of other classes and without labels, weights."""
    root = tmp_path_factory.mktemp("places")
    sets = {"other": ["rust", "dent"], "bare": list(NAMES)}
    for name, names in sets.items():
        for split in ("train", "val"):
            shutil.copytree(images.parent / "images" / "val", root / name / "images" / split)
        text = yaml.safe_dump({"train": "images/train", "val": "images/val", "names": names})
        (root / name / "data.yaml").write_text(text)
    torch.save({"classifier.weight": torch.zeros(5, 3)}, root / "classifier.pt")
    return {name: root / name for name in sets} | {"folder": root, "classifier": root / "classifier.pt"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "caffe"], "--format caffe: must be onnx or openvino or torchscript"),
        (["--format", "tflite"], "--format tflite is not written: no file of it"),
        (["--format", "tensorrt"], "--format tensorrt is not written: an engine of TensorRT is built on"),
        (["--precision", "f8"], "--precision f8: onnx takes f32"),
        (["--precision", "int8"], "--precision int8: onnx takes f32"),
        (["--imgsz", "32"], "--imgsz 32"),
        (["--format", "torchscript", "--dynamic"], "--dynamic: torchscript files are traced at one size"),
        (["--dynamic", "--window", "auto"], "--dynamic: windows by the policy auto"),
        (["--images", "0"], "--images 0"),
        (["--calibration", "0"], "--calibration 0"),
        (["--out", "{folder}"], "it exists and is not empty"),
        (["--data", "{other}"], "the weights know the classes scratch, pit, stain, missing_pad; {other}"),
        (
            ["--data", "{other}", "--format", "openvino", "--precision", "bf16"],
            "bf16 is judged by AP: the weights know",
        ),
        (["--data", "{bare}", "--format", "openvino", "--precision", "int8"], "has a label, by which --precision int8"),
        (["--weights", "{classifier}"], "{classifier}"),
        (["--weights", "tiny_moat0"], "export: the model was not loaded from a checkpoint"),
    ],
)
def test_mistakes_end_in_one_line(
    words: list[str],
    message: str,
    checkpoint: Path,
    images: Path,
    places: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    words, message = [word.format_map(places) for word in words], message.format_map(places)
    for name, value in (("--weights", checkpoint), ("--data", images)):
        words += [] if name in words else [name, str(value)]
    assert run("export", words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_an_image_that_cannot_be_decoded_is_named(
    checkpoint: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "bands.npy"
    np.save(broken, np.zeros((60, 60, 4), np.uint8))  # which its header does not say
    (tmp_path / "val.txt").write_text(f"{broken}\n")
    data = tmp_path / "data.yaml"
    data.write_text(images.read_text().replace("val: images/val", f"val: {tmp_path / 'val.txt'}"))
    words = ["--weights", str(checkpoint), "--data", str(data), "--out", str(tmp_path / "out")]
    assert run("export", words) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"{broken}: " in line
    assert "replace the image, or take it out of the dataset" in line
    assert not (tmp_path / "out").exists()


def test_calibration_names_an_image_that_cannot_be_decoded(exported: Export, tmp_path: Path) -> None:
    file = tmp_path / "bands.npy"
    np.save(file, np.zeros((60, 60, 4), np.uint8))
    image = LabelledImage(str(file), 60, 60, np.zeros(0, int), np.zeros((0, 4)))
    calibration = calibrate_on([image], Metadata.read(exported()), control=True)
    with pytest.raises(UserError, match=r"bands\.npy: .*; replace the image"):
        calibration.input(image)
    assert calibration.ap is not None
    with pytest.raises(UserError, match=r"bands\.npy: .*; replace the image"):
        calibration.ap(lambda images: images)


def test_a_package_that_is_missing_is_named_with_its_extra(
    checkpoint: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "moat_det.export.formats.openvino", raising=False)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UserError, match=r"openvino needs the package openvino: pip install 'moat_det\[openvino\]'"):
        MOAT(checkpoint).export(format="openvino", data=str(images), out=str(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_bytes_go_in_and_the_precision_is_written_down(exported: Export) -> None:
    folder = exported("openvino")
    model = openvino.Core().read_model(folder / "best.xml")
    assert [(port.get_element_type(), list(port.shape)) for port in model.inputs] == [
        (openvino.Type.u8, [1, 3, 96, 128])
    ]
    facts = json.loads((folder / "metadata.json").read_text())
    assert facts["precision"] == "f32"
    assert facts["versions"].keys() >= {"moat_det", "torch", "openvino"}
    assert facts["weights"]["sha256"]


def test_sizes_at_which_the_checkpoint_takes_other_windows_are_refused(copy: Path) -> None:
    facts = replace(Metadata.read(copy), shape=None, largest=(96, 128))
    facts.check(96, 128)
    with pytest.raises(UserError, match="an input of 128 x 128 is larger than 96 x 128, up to which"):
        facts.check(128, 128)


def test_an_input_that_is_narrower_than_two_cells_is_refused(copy: Path) -> None:
    facts = replace(Metadata.read(copy), shape=None, largest=None)
    facts.check(64, 64)
    with pytest.raises(UserError, match="an input of 32 x 128 is narrower than the 64 pixels"):
        facts.check(32, 128)


@pytest.mark.parametrize("backbone", [SLIM, {"name": "timm/mobilenetv2_050"}])
def test_no_size_of_the_example_goes_into_a_file_of_varying_sizes(backbone: dict[str, object]) -> None:
    torch.manual_seed(0)
    model = Predictions(build_model({"backbone": backbone, "neck": {"channels": [16, 16, 16]}}, 2).eval(), dynamic=True)
    # Guards on the example's sizes become constants here, before any format is written.
    traced = trace(model, torch.zeros(2, 3, 96, 128, dtype=torch.uint8)).run_decompositions().module()
    for shape in ((1, 3, 64, 64), (3, 3, 160, 96)):
        images = torch.randint(0, 256, shape, dtype=torch.uint8)
        torch.testing.assert_close(traced(images), model(images), rtol=1e-4, atol=1e-3)


def test_the_user_s_model_stays_as_it_was(checkpoint: Path, images: Path, tmp_path: Path) -> None:
    model = MOAT(checkpoint)
    before = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
    model.export(format="torchscript", data=str(images), images=1, out=str(tmp_path / "out"))
    after = model.model.state_dict()
    assert before.keys() == after.keys()
    assert all((before[name] == after[name]).all() for name in before)
    assert not model.model.is_fused()


def test_onnxruntime_knows_gelu_and_norms_as_one_operation(exported: Export, tmp_path: Path) -> None:
    file = exported("onnx") / "best.onnx"
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    found = Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    assert found["Gelu"] == 29  # one in the stem, two in each of the 14 blocks
    assert found["LayerNormalization"] == 9
    assert "Erf" not in found


def test_what_an_image_takes_is_in_the_report(
    exported: Export, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = json.loads((exported("onnx") / "parity.json").read_text())
    assert set(report["seconds"]) == {"file", "checkpoint"}
    assert min(report["seconds"].values()) > 0
    # The folder lies elsewhere than beside its checkpoint: it is found there.
    beside = checkpoint.with_name("best_onnx")
    beside.symlink_to(exported("onnx"))
    try:
        monkeypatch.setattr("moat_det.runtime.speed._MUCH", 0.0)
        assert "best_onnx (f32) has the same weights" in str(say_faster(checkpoint))
    finally:
        beside.unlink()


def test_detection_says_that_a_file_is_faster(
    checkpoint: Path,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "moat_det")
    monkeypatch.setattr("moat_det.cli.commands.detect.say_faster", lambda weights: f"faster than {weights.name}")
    words = ["--weights", str(checkpoint), "--source", str(pictures(images)[0]), "--project", str(tmp_path)]
    assert run("detect", [*words, "--device", "cpu"]) == 0
    assert "faster than best.pt" in caplog.messages


def test_batches_give_what_single_images_give(exported: Export, images: Path) -> None:
    detector: RuntimeDetector = load(exported("onnx"))
    single, together = detector(pictures(images)), detector(pictures(images), batch=3)
    assert isinstance(single, list)
    assert isinstance(together, list)
    for one, other in zip(single, together, strict=True):
        np.testing.assert_array_equal(one.xyxy, other.xyxy)
