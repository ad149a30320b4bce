"""Files of torch and of safetensors as sources of a backbone's weights, whole and damaged."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from helpers.weight_sample import random_backbone, weights_of
from moat_det.backbones import MOATBackbone, create_backbone
from moat_det.errors import UserError


@pytest.fixture(scope="module")
def source() -> MOATBackbone:
    return random_backbone(num_classes=None)


def save(weights: dict[str, torch.Tensor], path: Path) -> None:
    if path.suffix == ".safetensors":
        save_file(weights, path)
    elif path.name == "detector.pt":
        named = {f"model.backbone.{key}": tensor for key, tensor in weights.items()}
        named["model.neck.conv.weight"] = torch.zeros(3)
        torch.save({"format": "moat_det checkpoint 1", "weights": named, "names": {0: "scratch"}}, path)
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=path.name != "legacy.pt")


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as error:
        create_backbone("tiny_moat0", pretrained=path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", ["state.pt", "state.pth", "legacy.pt", "detector.pt", "weights.safetensors"])
def test_every_kind_gives_the_same_weights(name: str, source: MOATBackbone, tmp_path: Path) -> None:
    save(source.state_dict(), tmp_path / name)
    backbone = create_backbone("tiny_moat0", pretrained=str(tmp_path / name))
    for (key, ours), theirs in zip(weights_of(backbone).items(), weights_of(source).values(), strict=True):
        assert torch.equal(ours, theirs), key


@pytest.mark.parametrize("name", ["state.pt", "legacy.pt", "detector.pt", "weights.safetensors"])
@pytest.mark.parametrize("part", [0, 10, 0.5, 0.999])
def test_a_file_cut_short(name: str, part: float, source: MOATBackbone, tmp_path: Path) -> None:
    path = tmp_path / name
    save(source.state_dict(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole)) if part < 1 else int(part)])
    refusal(path)


@pytest.mark.parametrize("name", ["state.pt", "weights.safetensors", "prefix.index", "archive.tar.gz", "notes.txt"])
def test_text_is_no_weights(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("no weights here\n" * 100)
    refusal(tmp_path / name)


@pytest.mark.parametrize("name", ["folder.pt", "folder.safetensors", "folder"])
def test_a_folder_is_no_weights(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    refusal(tmp_path / name)


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise AssertionError('code of the file was run')",)


@pytest.mark.parametrize("legacy", [True, False])
def test_code_in_a_file_is_not_run(legacy: bool, tmp_path: Path) -> None:
    path = tmp_path / "stranger.pt"
    torch.save({"weight": Harmful()}, path, pickle_protocol=2, _use_new_zipfile_serialization=not legacy)
    assert "more than tensors" in refusal(path)
    path.write_bytes(pickle.dumps(Harmful(), protocol=2))
    refusal(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "neither a backbone's state dict nor"),
        ({"epoch": 3, "state_dict": {}}, "neither a backbone's state dict nor"),
        ({0: torch.zeros(1)}, "neither a backbone's state dict nor"),
        ({}, "holds no weights of a MOAT backbone"),
        ({"format": "moat_det checkpoint 1", "weights": {"model.0.conv.weight": torch.zeros(1)}}, "holds no weights"),
        ({"format": "moat_det checkpoint 1"}, "holds no weights"),
        ({"layer1.weight": torch.zeros(1)}, "has unknown 1: layer1.weight"),
    ],
)
def test_other_things_in_a_pt(content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pt")
    assert message in refusal(tmp_path / "other.pt")


def test_another_format_of_ours(tmp_path: Path) -> None:
    save_file({"stem.conv_0.bias": torch.zeros(1)}, tmp_path / "new.safetensors", {"format": "moat_det backbone 2"})
    assert "update moat_det" in refusal(tmp_path / "new.safetensors")
