"""Files that are no whole checkpoint: each is refused in one line, and none is used in part."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from moat_det.backbones import create_backbone
from moat_det.engine.checkpoint import load_checkpoint
from moat_det.errors import UserError


def change_one_weight(path: Path) -> None:
    """Turn the bits of one byte amid the tensors, as a bad disk or a transfer does; torch reads it nevertheless."""
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda part: part.file_size)
    content = bytearray(path.read_bytes())
    content[largest.header_offset + largest.file_size // 2] ^= 0xFF
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (change_one_weight, "no checkpoint, or a damaged one"),
        (cut, "no checkpoint, or a damaged one"),
        (empty, "no checkpoint, or a damaged one"),
        (make_folder, "no weights at"),
        (Path.unlink, "no weights at"),
    ],
)
def test_what_is_not_whole_is_refused(
    trained: Path, tmp_path: Path, harm: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / "best.pt"
    path.write_bytes((trained / "weights" / "best.pt").read_bytes())
    load_checkpoint(path)
    harm(path)
    with pytest.raises(UserError, match=message) as refused:
        load_checkpoint(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_may_not_be_read_is_not_called_damaged(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "best.pt"
    path.write_bytes((trained / "weights" / "best.pt").read_bytes())

    def refuse(self: Path, *_: object) -> None:  # whoever runs the tests may be root, who may read all
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match=r"best\.pt: cannot be read \(Permission denied\); check its permissions"):
        load_checkpoint(path)
    with pytest.raises(UserError, match=r"best\.pt: cannot be read \(Permission denied\); check its permissions"):
        create_backbone("tiny_moat0", pretrained=path)
