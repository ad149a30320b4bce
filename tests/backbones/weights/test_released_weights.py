"""Released checkpoints: found, downloaded from a server on loopback, verified."""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from helpers.archive_server import ArchiveServer, serve
from helpers.weight_sample import weights_of
from moat_det import paths
from moat_det.backbones import create_backbone, list_backbones
from moat_det.backbones.weights import RELEASED, download
from moat_det.backbones.weights.find import find_release, find_weights
from moat_det.errors import UserError

NEWER, OLDER = RELEASED["tiny_moat0"].archives


@pytest.fixture
def golden(shared: Path) -> bytes:
    return (shared / "golden/tiny_moat_0/tiny_moat_0.tar.gz").read_bytes()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOAT_DET_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.delenv("MOAT_DET_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "BACK_OFF", 0.01)
    return tmp_path / "weights"


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ArchiveServer]:
    with serve() as served:
        monkeypatch.setenv("MOAT_DET_WEIGHTS_URL", served.url)
        yield served


def visible(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def refusal(name: str = "tiny_moat0") -> str:
    with pytest.raises(UserError) as error:
        find_weights(name)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_table_is_the_official_one(shared: Path) -> None:
    rows = [
        re.findall(r"[^|`]+", line.replace(" ", ""))
        for line in (shared / "checkpoints.md").read_text().splitlines()
        if re.match(r"\| (tiny_)?moat\d", line)
    ]
    listed = {
        archive: (variant, pe == "yes", int(size), data, float(params[:-1]), float(flops[:-1]), float(top1[:-1]))
        for variant, pe, size, data, params, flops, top1, archive in rows
    }
    ours = {
        r.archives[1]: (
            *(r.variant, r.position_embedding, r.size, r.data.replace(" ", "")),
            *(r.params, r.flops, r.top1),
        )
        for r in RELEASED.values()
    }
    assert ours == listed
    assert {r.variant for r in RELEASED.values()} == set(list_backbones())
    assert len(RELEASED) == 18


def test_addresses() -> None:
    assert RELEASED["moat2_no_pe"].urls() == (
        "https://storage.googleapis.com/gresearch/tf-deeplab/checkpoint/"
        "moat2_imagenet_22k_and_1k_384_wo_position_embedding.tar.gz",
        "https://storage.googleapis.com/gresearch/tf-deeplab/checkpoint/"
        "moat2_imagenet_22k_and_1k_384_without_position_embedding.tar.gz",
    )


def test_download_once_then_verify(server: ArchiveServer, folder: Path, golden: bytes) -> None:
    server.files[NEWER] = golden
    backbone = create_backbone("tiny_moat0", pretrained="imagenet", num_classes=1000)
    again = create_backbone("tiny_moat0", pretrained="tiny_moat0", num_classes=1000)
    assert server.names == [NEWER]
    assert all(torch.equal(a, b) for a, b in zip(*map(dict.values, map(weights_of, (backbone, again))), strict=True))
    assert visible(folder) == {NEWER, f"{NEWER}.sha256"}
    assert (folder / f"{NEWER}.sha256").read_text() == f"{hashlib.sha256(golden).hexdigest()}  {NEWER}\n"
    (folder / NEWER).write_bytes(golden[:-1] + b"x")
    assert f"{NEWER} is damaged or another file" in refusal()
    assert server.names == [NEWER]


def test_imagenet_follows_the_position_embedding(server: ArchiveServer, shared: Path) -> None:
    archive = RELEASED["tiny_moat0_no_pe"].archives[0]
    server.files[archive] = (shared / "golden/tiny_moat_0_no_pe/tiny_moat_0_no_pe.tar.gz").read_bytes()
    create_backbone("tiny_moat0", pretrained="imagenet", position_embedding=False)
    assert server.names == [archive]


def test_the_older_name_when_the_newer_is_absent(server: ArchiveServer, folder: Path, golden: bytes) -> None:
    server.files[OLDER] = golden
    assert find_weights("tiny_moat0") == folder / OLDER
    assert server.names == [NEWER, OLDER]


@pytest.mark.parametrize("etag", ['"1"', None])
def test_a_broken_connection_is_resumed(
    server: ArchiveServer, folder: Path, golden: bytes, etag: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    server.files[NEWER], server.breaks, server.etag = golden, [len(golden) // 2], etag
    assert find_weights("tiny_moat0").read_bytes() == golden
    assert server.requests == [(NEWER, None, None), (NEWER, f"bytes={len(golden) // 2}-", etag)]
    assert f"the connection ended after {len(golden) // 2} of {len(golden)} bytes" in caplog.text
    assert visible(folder) == {NEWER, f"{NEWER}.sha256"}


def test_the_next_call_goes_on_where_the_last_gave_up(server: ArchiveServer, folder: Path, golden: bytes) -> None:
    server.files[NEWER], server.breaks = golden, [1000, 2000]
    assert "the connection ended after 3000 of" in refusal()
    assert not (folder / NEWER).exists()
    assert (folder / f"{NEWER}.part").read_bytes() == golden[:3000]
    assert find_weights("tiny_moat0").read_bytes() == golden
    assert [span for _, span, _ in server.requests] == [None, "bytes=1000-", "bytes=3000-"]


def test_a_server_without_ranges_sends_all_anew(server: ArchiveServer, golden: bytes, folder: Path) -> None:
    server.files[NEWER], server.breaks, server.ranges = golden, [1000], False
    assert find_weights("tiny_moat0").read_bytes() == golden


def test_another_version_on_the_server_is_not_glued_to_the_old(
    server: ArchiveServer, folder: Path, golden: bytes
) -> None:
    server.files[NEWER], server.breaks = b"another version " + golden, [1000, 0]
    refusal()
    server.files[NEWER], server.etag = golden, '"2"'
    assert find_weights("tiny_moat0").read_bytes() == golden


def test_a_part_longer_than_the_file_is_begun_anew(server: ArchiveServer, folder: Path, golden: bytes) -> None:
    server.files[NEWER], server.breaks = golden, [1000, 0]
    refusal()
    (folder / f"{NEWER}.part").write_bytes(bytes(len(golden) + 1))
    assert find_weights("tiny_moat0").read_bytes() == golden


def test_a_part_of_unknown_origin_is_begun_anew(server: ArchiveServer, folder: Path, golden: bytes) -> None:
    folder.mkdir()
    (folder / f"{NEWER}.part").write_bytes(b"unknown")
    (folder / f"{NEWER}.part.json").write_text("[]")
    server.files[NEWER] = golden
    assert find_weights("tiny_moat0").read_bytes() == golden
    assert server.requests == [(NEWER, None, None)]


def test_a_busy_server_is_asked_once_more(server: ArchiveServer, golden: bytes) -> None:
    server.files[NEWER], server.errors = golden, [503]
    assert find_weights("tiny_moat0").read_bytes() == golden
    server.errors = [503, 500, 503]
    assert "HTTP 500" in refusal("tiny_moat1")
    assert server.errors == [503]


@pytest.mark.parametrize("content", [b"<html>Please log in</html>", b"", bytes(10_000)])
def test_what_is_no_checkpoint_is_refused(server: ArchiveServer, folder: Path, content: bytes) -> None:
    server.files[NEWER] = content
    assert f"{server.url}/{NEWER} gives is no checkpoint, nothing was kept" in refusal()
    assert visible(folder) == set()


def test_another_checkpoint_is_refused(server: ArchiveServer, folder: Path, golden: bytes) -> None:
    release = RELEASED["tiny_moat0_no_pe"]
    server.files[release.archives[0]] = golden
    assert "holds tiny_moat0 with position embedding, not tiny_moat0_no_pe" in refusal("tiny_moat0_no_pe")
    assert visible(folder) == set()


@pytest.mark.parametrize("status", [404, 403])
def test_a_server_without_either_name(server: ArchiveServer, folder: Path, status: int) -> None:
    server.absent = status
    message = refusal()
    assert server.names == [NEWER, OLDER]
    assert f"HTTP {status}" in message
    assert f"fetch {server.url}/{NEWER}" in message
    assert f"put it into {folder} as {NEWER}" in message


def test_without_a_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MOAT_DET_WEIGHTS_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")
        message = refusal()
    assert "refused" in message
    assert f"put it into {folder} as {NEWER}" in message


def test_offline_never_tries(server: ArchiveServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOAT_DET_OFFLINE", "1")
    assert f"put it into {folder} as {NEWER}" in refusal()
    assert server.requests == []


@pytest.mark.parametrize("archive", [NEWER, OLDER])
def test_an_archive_put_there_by_hand(
    folder: Path, archive: str, golden: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOAT_DET_OFFLINE", "true")
    folder.mkdir()
    (folder / archive).write_bytes(golden)
    assert find_weights("tiny_moat0") == folder / archive


def test_a_converted_file_comes_first(folder: Path) -> None:
    folder.mkdir()
    for name in (NEWER, OLDER, "tiny_moat0.safetensors"):
        (folder / name).touch()
    assert find_weights("tiny_moat0").name == "tiny_moat0.safetensors"


def test_two_at_once_download_once(
    server: ArchiveServer, folder: Path, golden: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    server.files[NEWER] = golden
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(find_weights, ["tiny_moat0"] * 2))
    assert found == [folder / NEWER] * 2
    assert server.names == [NEWER]
    assert found[0].read_bytes() == golden


def test_a_folder_that_cannot_be_made(tmp_path: Path, server: ArchiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MOAT_DET_WEIGHTS", str(tmp_path / "file/weights"))
    assert "set MOAT_DET_WEIGHTS" in refusal()


def test_a_mirror_given_by_argument(server: ArchiveServer, golden: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOAT_DET_WEIGHTS_URL", "file:///etc")
    assert "must begin with http" in refusal()
    server.files[NEWER] = golden
    assert find_release(RELEASED["tiny_moat0"], f"{server.url}/").name == NEWER


def test_the_folder_of_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOAT_DET_WEIGHTS", raising=False)
    monkeypatch.setenv("MOAT_DET_CACHE", str(tmp_path / "cache"))
    checkout = Path(paths.__file__).resolve().parents[1]
    assert paths.weights_dir() == checkout / "weights"
    monkeypatch.setattr(paths, "_PACKAGE", tmp_path / "site-packages/moat_det")
    assert paths.weights_dir() == tmp_path / "cache/weights"
    monkeypatch.setenv("MOAT_DET_WEIGHTS", "~/given")
    assert paths.weights_dir() == Path.home() / "given"
