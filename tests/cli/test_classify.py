from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from moat_det.backbones import create_backbone
from moat_det.cli import main as cli

COLOUR = (180, 90, 30)  # RGB


def save_classifier(path: Path, classes: int) -> torch.Tensor:
    """Saves a random classifier; returns its probabilities for a picture of one colour."""
    torch.manual_seed(0)
    model = create_backbone("tiny_moat0", num_classes=classes).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)  # so that the classes differ
    torch.save(model.state_dict(), path)
    mean, std = (255 * torch.tensor(values) for values in (model.mean, model.std))
    colour = ((torch.tensor(COLOUR) - mean) / std).view(1, 3, 1, 1).expand(1, 3, 256, 256)
    with torch.inference_mode():
        return model(colour)[0].softmax(0)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor]:
    path = tmp_path_factory.mktemp("weights") / "classifier.pt"
    return path, save_classifier(path, 1000)


def run(*words: object) -> int:
    return cli.run("classify predict", [str(word) for word in words])


def test_pictures_of_all_kinds(
    classifier: tuple[Path, torch.Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same colour in every picture, 8 or 16 bit, with alpha, and with a border that the crop leaves out."""
    weights, expected = classifier
    images = tmp_path / "images"
    images.mkdir()
    plain = np.full((300, 200, 3), COLOUR[::-1], np.uint8)
    bordered = np.zeros((400, 600, 3), np.uint8)
    bordered[20:-20, 120:-120] = COLOUR[::-1]
    cv2.imwrite(str(images / "plain.png"), plain)
    cv2.imwrite(str(images / "deep.png"), plain.astype(np.uint16) * 257)
    cv2.imwrite(str(images / "alpha.png"), np.dstack([plain, np.full((300, 200), 255, np.uint8)]))
    cv2.imwrite(str(images / "bordered.png"), bordered)
    (images / "broken.jpg").write_text("no picture")

    assert run("--weights", weights, "--source", images, "--top", 3, "--save-json", tmp_path / "found.json") == 0
    out, err = capsys.readouterr()
    assert f"{images / 'broken.jpg'}: skipped: " in err
    entries = json.loads((tmp_path / "found.json").read_text())
    assert [Path(entry["file"]).name for entry in entries] == ["alpha.png", "bordered.png", "deep.png", "plain.png"]
    values, classes = expected.topk(3)
    for entry in entries:
        assert [row["class"] for row in entry["classes"]] == classes.tolist()
        assert [row["probability"] for row in entry["classes"]] == pytest.approx(values.tolist(), rel=1e-3)
    names = [row["name"] for row in entries[0]["classes"]]
    assert f"{images / 'plain.png'}: {names[0]} {values[0]:.1%}, {names[1]} " in out


def test_gray_and_turned_pictures(classifier: tuple[Path, torch.Tensor], tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 255, 320).astype(np.uint8)[:, None], (1, 240))
    Image.fromarray(ramp).save(tmp_path / "a_gray.png")
    Image.fromarray(np.dstack([ramp] * 3)).save(tmp_path / "b_rgb.png")
    turned = Image.fromarray(np.rot90(ramp).copy())  # 6: a viewer turns it by 90 degrees clockwise
    exif = Image.Exif()
    exif[274] = 6
    turned.save(tmp_path / "c_turned.png", exif=exif)

    assert run("--weights", classifier[0], "--source", f"{tmp_path}/*.png", "--save-json", tmp_path / "f.json") == 0
    gray, rgb, upright = (entry["classes"] for entry in json.loads((tmp_path / "f.json").read_text()))
    assert len(gray) == 5
    assert gray == rgb == upright


def test_a_picture_that_cannot_be_mapped_ends_no_run(
    classifier: tuple[Path, torch.Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("F", (30, 30), 0.5).save(tmp_path / "a_float.tif")
    pages = [Image.new("L", (30, 30), value) for value in (0, 200)]
    pages[0].save(tmp_path / "b.tif", save_all=True, append_images=pages[1:])
    assert run("--weights", classifier[0], "--source", tmp_path) == 0
    out, err = capsys.readouterr()
    assert f"{tmp_path / 'a_float.tif'}: skipped: intensity: full has no meaning" in err
    assert f"{tmp_path / 'b.tif'}: " in out


def test_classes_that_are_not_imagenets_have_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_classifier(tmp_path / "three.pt", 3)
    cv2.imwrite(str(tmp_path / "picture.png"), np.full((50, 50, 3), 128, np.uint8))
    assert run("--weights", tmp_path / "three.pt", "--source", tmp_path / "picture.png") == 0
    found = capsys.readouterr().out.strip().removeprefix(f"{tmp_path / 'picture.png'}: ").split(", ")
    assert sorted(entry.split()[0] for entry in found) == ["0", "1", "2"]


def test_imagenets_names(classifier: tuple[Path, torch.Tensor], shared: Path, tmp_path: Path) -> None:
    """The official code's likeliest classes of the golden picture, whose middle we look at, lead here as well."""
    with np.load(shared / "golden/tiny_moat_0/cls_native.npz") as arrays:
        cv2.imwrite(str(tmp_path / "a.png"), arrays["image_uint8"][0, ..., ::-1])
        official = np.argsort(-arrays["logits"][0])[:5]
    archive = shared / "golden/tiny_moat_0/tiny_moat_0.tar.gz"
    assert run("--weights", archive, "--source", tmp_path / "a.png", "--save-json", tmp_path / "found.json") == 0
    classes = json.loads((tmp_path / "found.json").read_text())[0]["classes"]
    assert (classes[0]["class"], classes[0]["name"]) == (official[0], "white stork")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--weights", "imagenet"), "--backbone moat0"),
        (("--weights", "absent.pt"), "no weights at absent.pt"),
        (("--weights", "headless.pt"), "headless.pt has no classification head"),
        (("--weights", "CLASSIFIER", "--backbone", "moat0"), "holds tiny_moat0"),
        (("--weights", "CLASSIFIER", "--source", "absent*.jpg"), "--source absent*.jpg"),
        (("--weights", "CLASSIFIER", "--source", "broken.jpg"), "none of the 1 pictures"),
        (("--weights", "CLASSIFIER", "--top", "0"), "--top 0"),
        (("--weights", "CLASSIFIER", "--save-json", "broken.jpg/found.json"), "broken.jpg"),
    ],
)
def test_mistakes_are_named(
    classifier: tuple[Path, torch.Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("picture.png", np.zeros((50, 50, 3), np.uint8))
    Path("broken.jpg").write_text("no picture")
    if "headless.pt" in words:
        torch.save(create_backbone("tiny_moat0").state_dict(), "headless.pt")
    given = words if "--source" in words else (*words, "--source", "picture.png")
    assert run(*(str(classifier[0]) if word == "CLASSIFIER" else word for word in given)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert message in error


def test_of_equal_probabilities_the_smaller_class_comes_first(tmp_path: Path) -> None:
    model = create_backbone("tiny_moat0", num_classes=1000)
    with torch.no_grad():
        model.logits_head.weight.zero_()
        model.logits_head.bias.zero_()
    torch.save(model.state_dict(), tmp_path / "equal.pt")
    cv2.imwrite(str(tmp_path / "plain.png"), np.full((64, 64, 3), COLOUR, np.uint8))
    found = tmp_path / "found.json"
    run("--weights", tmp_path / "equal.pt", "--source", tmp_path / "plain.png", "--top", 5, "--save-json", found)
    assert [row["class"] for row in json.loads(found.read_text())[0]["classes"]] == [0, 1, 2, 3, 4]
