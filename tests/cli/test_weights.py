"""`moat weights`: our own format, bit for bit, with what it is."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from moat_det.backbones import create_backbone
from moat_det.backbones.weights import RELEASED
from moat_det.cli.main import run


@pytest.mark.parametrize("tables", [True, False])
def test_an_archive(tables: bool, shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "tiny_moat_0" if tables else "tiny_moat_0_no_pe"
    archive, out = shared / f"golden/{name}/{name}.tar.gz", tmp_path / "new/converted.safetensors"
    assert run("weights", [str(archive), "--out", str(out)]) == 0
    assert f"written to {out}" in capsys.readouterr().out
    with safe_open(out, "pt") as file:
        metadata = file.metadata()
    mean, std = (json.loads(metadata.pop(name)) for name in ("mean", "std"))
    assert mean == pytest.approx([0.485, 0.456, 0.406])
    assert std == pytest.approx([0.229, 0.224, 0.225])
    assert metadata == {
        "format": "moat_det backbone 1",
        "variant": "tiny_moat0",
        "position_embedding": str(tables).lower(),
        "classes": "1000",
        "source": archive.name,
        "source_sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
    }
    ours, theirs = (
        create_backbone("tiny_moat0", pretrained=path, num_classes=1000, position_embedding=tables).state_dict()
        for path in (out, archive)
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_an_unpacked_checkpoint_and_other_bands(shared: Path, tmp_path: Path) -> None:
    with tarfile.open(shared / "golden/tiny_moat_0/tiny_moat_0.tar.gz") as tar:
        tar.extractall(tmp_path, filter="data")
    prefix = tmp_path / "tiny_moat_0/model.ckpt"
    files = prefix.with_suffix(".ckpt.data-00000-of-00001"), prefix.with_suffix(".ckpt.index")
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    for source in (prefix, prefix.parent, files[1]):
        out = tmp_path / "out.safetensors"
        assert run("weights", [str(source), "--out", str(out), "--force"]) == 0
        with safe_open(out, "pt") as file:
            assert file.metadata()["source_sha256"] == digest
    gray = create_backbone("tiny_moat0", pretrained=out, in_channels=1)
    torch.save(gray.state_dict(), tmp_path / "gray.pt")
    assert run("weights", [str(tmp_path / "gray.pt"), "--out", str(tmp_path / "gray.safetensors")]) == 0
    again = create_backbone("tiny_moat0", pretrained=tmp_path / "gray.safetensors", in_channels=1)
    assert torch.equal(again.stem.conv_0.weight, gray.stem.conv_0.weight)


def test_a_released_name_stands_for_the_archive_also_after_a_conversion(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOAT_DET_WEIGHTS", str(tmp_path))
    archive = RELEASED["tiny_moat0"].archives[0]
    shutil.copy(shared / "golden/tiny_moat_0/tiny_moat_0.tar.gz", tmp_path / archive)
    out = tmp_path / "tiny_moat0.safetensors"
    for _ in range(2):
        assert run("weights", ["tiny_moat0", "--out", str(out), "--force"]) == 0
        with safe_open(out, framework="pt") as file:
            assert file.metadata()["source"] == archive


def test_an_existing_file_is_kept_without_force(shared: Path, tmp_path: Path) -> None:
    archive, out = shared / "golden/tiny_moat_0/tiny_moat_0.tar.gz", tmp_path / "out.safetensors"
    out.write_text("precious")
    assert run("weights", [str(archive), "--out", str(out)]) == 2
    assert out.read_text() == "precious"
    assert run("weights", [str(archive), "--out", str(out), "--force"]) == 0
    assert out.stat().st_size > 1_000_000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{archive}", "--out", "{folder}/out.pt"], "must end in .safetensors"),
        (["{archive}", "--out", "{folder}/out.safetensors", "--backbone", "tiny_moat1"], "the backbone is tiny_moat1"),
        (["{archive}", "--out", "{folder}/out.safetensors", "--backbone", "resnet"], "no backbone 'resnet'"),
        (["imagenet", "--out", "{folder}/out.safetensors"], "name one"),
        (["tiny_moat9", "--out", "{folder}/out.safetensors"], "no weights at tiny_moat9"),
        (["{folder}/other.pt", "--out", "{folder}/out.safetensors"], "of no variant"),
        (["{archive}", "--out", "{folder}/other.pt/out.safetensors"], "cannot be written"),
    ],
)
def test_refusals(
    words: list[str],
    message: str,
    shared: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    archive = shared / "golden/tiny_moat_0/tiny_moat_0.tar.gz"
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pt")
    assert run("weights", [word.format(archive=archive, folder=tmp_path) for word in words]) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["other.pt"]
