"""What is broken ends in one error of one line that names the file and the fault."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from moat_det.backbones.tensorflow import CheckpointError, open_checkpoint
from moat_det.backbones.tensorflow import table as table_module
from moat_det.backbones.tensorflow.errors import Fault
from tools import bundle_writer
from tools.bundle_writer import Bundle, header, masked_crc, number_field, sample, table, varint

Write = Callable[[dict[str, bytes]], Path]
INDEX, DATA = ".index", ".data-00000-of-00001"
GAMMA = "moat/block_00_00/norm/gamma"


def read_all(path: Path) -> None:
    with open_checkpoint(path) as checkpoint:
        for name in checkpoint.variables:
            checkpoint.read(name)


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as raised:
        read_all(path)
    message = str(raised.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    assert message.count(": ") >= 2, "the fault and the way out"
    return message


def changed(suffix: str, change: Callable[[bytes], bytes]) -> dict[str, bytes]:
    files = sample().files()
    return files | {suffix: change(files[suffix])}


def flipped(at: int) -> Callable[[bytes], bytes]:
    return lambda content: content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


BYTES = [
    (INDEX, lambda content: content[:-1], "not the index of a TensorFlow V2 checkpoint, or cut short"),
    (INDEX, lambda content: content[:100], "not the index of a TensorFlow V2 checkpoint, or cut short"),
    (INDEX, lambda content: b"", "not the index of a TensorFlow V2 checkpoint, or cut short"),
    (INDEX, lambda content: b"<html>Not found</html>" * 20, "not the index of a TensorFlow V2 checkpoint"),
    (INDEX, lambda content: content[100:], "beyond the end of the file"),
    (INDEX, flipped(20), "the checksum of one of its blocks is wrong"),
    (DATA, lambda content: content[:-1], "its 177 bytes end before the variable 'moat/whole' does"),
    (DATA, lambda content: b"", "its 0 bytes end before"),
    (DATA, flipped(0), "the checksum of the variable 'global_step' is wrong"),
]


@pytest.mark.parametrize(("suffix", "change", "words"), BYTES)
def test_damaged_files(write: Write, suffix: str, change: Callable[[bytes], bytes], words: str) -> None:
    message = refusal(write(changed(suffix, change)))
    assert words in message
    assert f"model.ckpt{suffix}: " in message
    assert "fetch it again" in message


def with_header(content: bytes, shards: int = 1) -> Bundle:
    bundle = sample(shards)
    bundle.header = content
    return bundle


ENTRIES = [
    (sample().change(GAMMA, dtype=99), "'moat/block_00_00/norm/gamma' has the unknown dtype number 99"),
    (sample().change(GAMMA, dtype=0), "has the unknown dtype number 0"),
    (sample().change(GAMMA, dtype=9), "int64[2, 3, 4], takes 192 bytes but is given 96"),
    (sample().change(GAMMA, size=100), "takes 96 bytes but is given 100"),
    (sample().change(GAMMA, shape=(-2, 3, -4)), "has the impossible shape [-2, 3, -4]"),
    (sample().change(GAMMA, shape=(1 << 40, 1 << 40)), "has the impossible shape"),
    (sample().change("moat/empty", shape=(0, 1 << 62)), "has the impossible shape"),
    (sample().change(GAMMA, shape=(1,) * 100, size=4), "has the impossible shape"),
    (sample().change(GAMMA, shape=(1 << 40,), size=1 << 42), "end before the variable"),
    (sample().change(GAMMA, offset=1 << 40), "end before the variable"),
    (sample().change(GAMMA, offset=-1), "lies nowhere"),
    (sample().change(GAMMA, shard=1), "lies nowhere: data file 1 of 1"),
    (sample().change(GAMMA, shard=-1), "lies nowhere"),
    (sample().change(GAMMA, checksum=1), "the checksum of the variable 'moat/block_00_00/norm/gamma' is wrong"),
    (sample().change(GAMMA, slices=(b"",)), "is stored in slices: save the checkpoint without partitioned variables"),
    (with_header(header(0)), "its header speaks of 0 data files"),
    (with_header(header(99999)), "model.ckpt.data-00000-of-99999: there is no such file"),
    (with_header(header(1 << 31)), "its header speaks of 2147483648 data files"),
    (with_header(header(big_endian=1)), "big-endian"),
    (with_header(header(least_reader=2)), "needs a reader of version 2"),
    (with_header(b"\x0b"), "unknown wire type 3"),
    (with_header(b"\x0a\x01a"), "field 1 of an index entry is not a number"),
    (with_header(b"\x08"), "a number is cut short"),
    (with_header(header() + number_field(3, 1)), "field 3 of an index entry is not a message"),
    (with_header(header() + b"\x2d\x01"), "a field of an index entry is cut short"),
]


@pytest.mark.parametrize(("bundle", "words"), ENTRIES)
def test_an_index_that_lies(write: Write, bundle: Bundle, words: str) -> None:
    assert words in refusal(write(bundle.files()))


def test_variables_that_share_bytes(write: Write) -> None:
    bundle = sample()
    bundle.entries |= {f"again{index}": bundle.entries[GAMMA] for index in range(5)}
    assert "its variables overlap" in refusal(write(bundle.files()))


def test_a_data_file_that_is_missing(write: Write) -> None:
    files = sample(shards=3).files()
    del files[".data-00001-of-00003"]
    assert "model.ckpt.data-00001-of-00003: there is no such file" in refusal(write(files))


PAIRS = sample().pairs()
TABLES = [
    (PAIRS[1:], "its first entry is not the header"),
    ([], "its first entry is not the header"),
    ([PAIRS[0], PAIRS[2], PAIRS[1]], "its keys are out of order"),
    ([PAIRS[0], PAIRS[1], PAIRS[1]], "its keys are out of order"),
    ([PAIRS[0], (b"\xff", PAIRS[1][1])], r"the name b'\xff' of a variable is not text"),
    ([PAIRS[0], (b"k" * 513, PAIRS[1][1])], "one of its keys or values is longer than 512 or 16384 bytes"),
    ([PAIRS[0], (b"k", bytes(16385))], "one of its keys or values is longer than 512 or 16384 bytes"),
]


@pytest.mark.parametrize(("pairs", "words"), TABLES)
def test_a_table_of_the_wrong_pairs(write: Write, pairs: list[tuple[bytes, bytes]], words: str) -> None:
    assert words in refusal(write({INDEX: table(pairs), DATA: b""}))


def one_block(content: bytes, kind: int = 0) -> bytes:
    """A table whose index block is `content`."""
    stored = content + bytes([kind])
    handle = varint(0) + varint(len(content))
    return (
        stored + masked_crc(stored).to_bytes(4, "little") + (varint(0) * 2 + handle).ljust(40, b"\0")
    ) + bundle_writer.MAGIC


BLOCKS = [
    (b"", 0, "one of its blocks is too short"),
    (b"\0\0\0\x7f", 0, "one of its blocks is too short"),
    (b"\0\x05\0a" + bytes(4), 0, "one of its entries is cut short"),
    (b"\x01\0\0" + bytes(4), 0, "one of its entries is cut short"),
    (b"\0\0\x02\0\0" + bytes(4), 0, "beyond the end of the file|one of its blocks"),
    (b"", 7, "compressed by the unknown method 7"),
    (b"\x05", 1, "a snappy block is cut short"),
]


@pytest.mark.parametrize(("content", "kind", "words"), BLOCKS)
def test_a_block_that_lies(write: Write, content: bytes, kind: int, words: str) -> None:
    assert re.search(words, refusal(write({INDEX: one_block(content, kind), DATA: b""})))


def test_an_index_of_more_keys_than_any_backbone(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "_MAX_KEYS", 5)
    assert "it holds more than 5 keys" in refusal(write(sample().files()))


def test_an_index_larger_than_any_backbones(write: Write) -> None:
    assert "an index of more than 2097152 bytes" in refusal(write({INDEX: bytes((2 << 20) + 1)}))
    compressed = table([(b"%05d" % index, bytes(16000)) for index in range(200)], compress=True)
    assert len(compressed) < 1 << 20
    with pytest.raises(Fault, match="claims to hold"):
        list(table_module.read_table(compressed))


@pytest.mark.parametrize(("count", "width", "compress"), [(8000, 4, True), (3700, 500, False)])
def test_a_hostile_index_costs_little(write: Write, count: int, width: int, compress: bool) -> None:
    """As many or as long names as are accepted, each stored in a few bytes by what it shares with the one before."""
    empty = Bundle.of({"w": ("float32", np.zeros(0))}).entries["w"].encode()
    pairs = [(b"", header()), *((str(index).zfill(width).encode(), empty) for index in range(count))]
    prefix = write({INDEX: table(pairs, compress=compress, block_size=1 << 30, restart_interval=1 << 30), DATA: b""})
    tracemalloc.start()
    try:
        with open_checkpoint(prefix) as checkpoint:
            assert len(checkpoint.variables) == count
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


def test_folders_and_paths_without_a_checkpoint(write: Write, tmp_path: Path) -> None:
    assert "there is no such file" in refusal(tmp_path / "absent")
    assert "holds no .index file" in refusal(tmp_path)
    write(sample().files())
    (tmp_path / "model.ckpt-2.index").write_bytes(b"")
    assert "holds 2 checkpoints ('model.ckpt', 'model.ckpt-2'): give the path of one" in refusal(tmp_path)


def test_a_data_file_cut_after_opening(write: Write) -> None:
    prefix = write(sample().files())
    with open_checkpoint(prefix) as checkpoint:
        Path(f"{prefix}{DATA}").write_bytes(b"")
        with pytest.raises(CheckpointError, match="it ends before the variable"):
            checkpoint.read(GAMMA)


def test_an_empty_variable_needs_no_data(write: Write) -> None:
    prefix = write(Bundle.of({"moat/empty": ("float32", np.zeros((0, 3)))}).files())
    read_all(prefix)
