"""Archives of checkpoints: nothing outside the temporary folder is touched, and nothing is left of it."""

from __future__ import annotations

import gzip
import io
import tarfile
import time
from pathlib import Path

import pytest

from moat_det.backbones.tensorflow import CheckpointError, archive, open_checkpoint
from tools.bundle_writer import sample, tar, tar_gz

INDEX, DATA = ".index", ".data-00000-of-00001"
FILES = sample().files()
MEMBERS = {f"folder/model.ckpt{suffix}": content for suffix, content in FILES.items()}


def read_all(path: Path) -> list[str]:
    with open_checkpoint(path) as checkpoint:
        for name in checkpoint.variables:
            checkpoint.read(name)
        return list(checkpoint.variables)


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as raised:
        read_all(path)
    message = str(raised.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.tar.gz"


@pytest.mark.parametrize("order", [sorted, lambda names: sorted(names, reverse=True)])
def test_the_index_may_come_first_or_last(path: Path, order) -> None:  # type: ignore[no-untyped-def]
    path.write_bytes(tar_gz({name: MEMBERS[name] for name in order(MEMBERS)}))
    assert read_all(path) == sorted(sample().entries)


def test_members_that_would_escape(path: Path, tmp_path: Path, temporary_folder: Path) -> None:
    outside = tmp_path / "victim.index"
    outside.write_bytes(b"precious")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar_file:
        for name in ("../evil", "/evil", "../../evil.data-00000-of-00001", f"{tmp_path}/evil.data-00000-of-00001"):
            member = tarfile.TarInfo(name)
            member.size = 4
            tar_file.addfile(member, io.BytesIO(b"evil"))
        for name, kind, target in (
            ("folder/other.index", tarfile.SYMTYPE, str(outside)),
            ("folder/third.index", tarfile.LNKTYPE, "folder/model.ckpt.index"),
            ("folder/fourth.index", tarfile.CHRTYPE, ""),
            ("folder/fifth.index", tarfile.FIFOTYPE, ""),
            ("folder/sixth.index", tarfile.DIRTYPE, ""),
            ("folder", tarfile.SYMTYPE, str(tmp_path)),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            tar_file.addfile(member)
        for name, content in MEMBERS.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar_file.addfile(member, io.BytesIO(content))
    path.write_bytes(out.getvalue())
    with open_checkpoint(path) as checkpoint:
        (folder,) = temporary_folder.iterdir()
        assert folder.stat().st_mode & 0o077 == 0
        assert not any(file.is_symlink() or file.is_dir() for file in folder.iterdir())
        assert list(checkpoint.variables) == sorted(sample().entries)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.tar.gz", "victim.index"]
    assert outside.read_bytes() == b"precious"
    assert not Path("/evil").exists()


def test_an_index_outside_is_read_like_any_other_but_stays_inside(path: Path, tmp_path: Path) -> None:
    path.write_bytes(tar_gz({f"../../model.ckpt{suffix}": content for suffix, content in FILES.items()}))
    assert read_all(path) == sorted(sample().entries)
    assert list(tmp_path.iterdir()) == [path]


def truncated_header(size: int) -> bytes:
    """A tar whose first header is a GNU long name of `size` bytes."""
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, size
    return member.tobuf(tarfile.GNU_FORMAT)


def negative_size() -> bytes:
    member = tarfile.TarInfo("folder/model.ckpt.index")
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 11 + b"\x00"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(1024)


WHOLE = tar_gz(MEMBERS)
TO_BLOCK = -len(tar(MEMBERS).rstrip(b"\0")) % 512  # without the zeros that end an archive
ARCHIVES = [
    (b"", "not a tar archive"),
    (b"<html>404</html>" * 100, "not a tar archive"),
    (b"short", "not a tar archive"),
    (gzip.compress(b"text" * 1000), "not a tar archive"),
    (gzip.compress(b""), "not a tar archive"),
    (WHOLE[: len(WHOLE) // 2], "cut short"),
    (WHOLE[:-4], "cut short"),
    (WHOLE[:5], "cut short"),
    (WHOLE[:-8] + bytes(8), "damaged or cut short"),
    (WHOLE[:60] + bytes(20) + WHOLE[80:], "damaged or cut short"),
    (WHOLE + b"trailing", "damaged or cut short"),
    (tar(MEMBERS)[:700], "cut short"),
    (tar_gz({"readme.txt": b"hello"}), "the archive holds no .index file"),
    (tar_gz({"folder/._model.ckpt.index": FILES[INDEX]}), "the archive holds no .index file"),
    (
        tar_gz({**MEMBERS, "b/other.index": b""}),
        "holds 2 checkpoints ('b/other', 'folder/model.ckpt'): unpack it and give the path of one",
    ),
    (tar_gz({"model.ckpt.index": FILES[INDEX]}), "(its .data-00000-of-00001 file): there is no such file"),
    (
        tar_gz({"a.index": FILES[INDEX], f"b{DATA}": FILES[DATA]}),
        "(its .data-00000-of-00001 file): there is no such file",
    ),
    (tar_gz({"a.index": b"text", f"a{DATA}": FILES[DATA]}), "(its .index file): not the index"),
    (tar_gz({"a.index": FILES[INDEX], f"a{DATA}": FILES[DATA][:-1]}), "(its .data-00000-of-00001 file): its 177 bytes"),
    (
        tar(MEMBERS).rstrip(b"\0") + bytes(TO_BLOCK) + tar(MEMBERS),
        "holds 'folder/model.ckpt.data-00000-of-00001' twice",
    ),
    (truncated_header(1 << 30) + bytes(2048), "too many or too large headers"),
    (truncated_header(10) * 2000, "damaged (maximum recursion depth exceeded|too many or too large headers"),
    (negative_size(), "points backwards"),
    (tar({f"{index}": b"" for index in range(513)}), "too many or too large headers"),
]


@pytest.mark.parametrize(("content", "words"), ARCHIVES, ids=[words[:30] for _, words in ARCHIVES])
def test_broken_archives(path: Path, content: bytes, words: str) -> None:
    path.write_bytes(content)
    message = refusal(path)
    assert any(part in message for part in words.split("|")), message


@pytest.mark.parametrize("name", ["model.ckpt.data-00000-of-00001", "other.bin", "model.ckpt.index"])
def test_a_bomb(path: Path, temporary_folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(archive, "_FREE", 1 << 20)
    path.write_bytes(tar_gz({name: bytes(8 << 20)}))
    assert f"unpacks to more than {(1 << 20) + 32 * path.stat().st_size} bytes" in refusal(path)


def test_headers_that_take_long_to_parse(path: Path) -> None:
    """CVE-2024-6232: tarfile searches a run of digits from each of its digits; not so long that it takes seconds."""
    member = tarfile.TarInfo("header")
    member.type, member.size = tarfile.XHDTYPE, 4096
    path.write_bytes(gzip.compress((member.tobuf() + b"1" * 4096) * 200))
    start = time.process_time()
    refusal(path)
    assert time.process_time() - start < 5


def test_a_sparse_member_is_not_taken(path: Path) -> None:
    """Holes cost an archive nothing: they would unpack to any size."""
    member = tarfile.TarInfo("folder/model.ckpt.data-00000-of-00001")
    member.pax_headers = {"GNU.sparse.map": "0,0", "GNU.sparse.size": str(1 << 40), "GNU.sparse.numblocks": "1"}
    out = member.tobuf(tarfile.PAX_FORMAT) + tar({"folder/model.ckpt.index": FILES[INDEX]})
    path.write_bytes(gzip.compress(out))
    assert "there is no such file" in refusal(path)


def test_a_full_disk_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(WHOLE)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive._Stream, "copy", full)
    assert "No space left on device" in refusal(path)
