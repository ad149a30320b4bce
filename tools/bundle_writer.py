"""Writes TensorFlow V2 checkpoints, whole and broken, as bytes; the counterpart of `moat_det.backbones.tensorflow`."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import google_crc32c
import numpy as np

MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
NUMBERS = {"float32": 1, "int32": 3, "string": 7, "int64": 9, "bfloat16": 14, "float16": 19}
STORED_AS = {"float32": "<f4", "int32": "<i4", "int64": "<i8", "bfloat16": "<u2", "float16": "<f2"}


def varint(value: int) -> bytes:
    """Encode a whole number as protobuf does, seven bits a byte."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def masked_crc(data: bytes) -> int:
    """Give the CRC-32C of bytes as LevelDB's tables store it."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def number_field(number: int, value: int) -> bytes:
    """Encode a field of a message that is a number."""
    return varint(number << 3) + varint(value)


def bytes_field(number: int, value: bytes) -> bytes:
    """Encode a field of a message that is bytes."""
    return varint(number << 3 | 2) + varint(len(value)) + value


@dataclass(frozen=True)
class Entry:
    """A `BundleEntryProto`."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    slices: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        """Give the message of the entry."""
        shape = b"".join(bytes_field(2, number_field(1, size)) for size in self.shape)
        return (
            number_field(1, self.dtype)
            + bytes_field(2, shape)
            + number_field(3, self.shard)
            + number_field(4, self.offset)
            + number_field(5, self.size)
            + varint(6 << 3 | 5)
            + self.checksum.to_bytes(4, "little")
            + b"".join(bytes_field(7, part) for part in self.slices)
        )


def snappy(data: bytes) -> bytes:
    """Compress greedily, with literals and copies of all three widths."""
    out = bytearray(varint(len(data)))
    seen: dict[bytes, int] = {}
    start = at = 0

    def literal(piece: bytes) -> None:
        if not piece:
            return
        if len(piece) <= 60:
            out.append(len(piece) - 1 << 2)
        else:
            out.extend([61 << 2, *(len(piece) - 1).to_bytes(2, "little")])
        out.extend(piece)

    while at + 4 <= len(data):
        found = seen.get(data[at : at + 4])
        seen[data[at : at + 4]] = at
        if found is None:
            at += 1
            continue
        literal(data[start:at])
        size = 4
        while size < 64 and at + size < len(data) and data[found + size] == data[at + size]:
            size += 1
        offset = at - found
        if size <= 11 and offset < 2048:
            out.extend([1 | size - 4 << 2 | offset >> 8 << 5, offset & 255])
        elif offset < 1 << 16 and size % 2:
            out.extend([2 | size - 1 << 2, *offset.to_bytes(2, "little")])
        else:
            out.extend([3 | size - 1 << 2, *offset.to_bytes(4, "little")])
        at += size
        start = at
    while start < len(data):
        literal(data[start : start + (1 << 16)])
        start += 1 << 16
    return bytes(out)


def block(pairs: list[tuple[bytes, bytes]], restart_interval: int) -> bytes:
    """Give a block of a table: keys with what they share with the one before left out."""
    out, restarts, previous = bytearray(), [], b""
    for index, (key, value) in enumerate(pairs):
        shared = 0
        if index % restart_interval == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(key), len(previous)) and key[shared] == previous[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        previous = key
    restarts = restarts or [0]
    return bytes(out) + b"".join(at.to_bytes(4, "little") for at in [*restarts, len(restarts)])


def table(
    pairs: list[tuple[bytes, bytes]],
    *,
    compress: bool = False,
    block_size: int = 256,
    restart_interval: int = 4,
    spoil: Callable[[bytes], bytes] = bytes,
) -> bytes:
    """Give a sorted table; the pairs are written in the order given, right or wrong.

    `spoil` may change the stored bytes of a block; the checksum is that of what it returns.
    """
    out = bytearray()

    def append(content: bytes) -> bytes:
        kind = b"\0"
        if compress:
            content, kind = snappy(content), b"\1"
        content = spoil(content)
        handle = varint(len(out)) + varint(len(content))
        out.extend(content + kind + masked_crc(content + kind).to_bytes(4, "little"))
        return handle

    index, waiting, size = [], [], 0
    for number, (key, value) in enumerate(pairs):
        waiting.append((key, value))
        size += len(key) + len(value)
        if size >= block_size or number == len(pairs) - 1:
            index.append((key, append(block(waiting, restart_interval))))
            waiting, size = [], 0
    footer = append(block([], 1)) + append(block(index, 1))
    return bytes(out) + footer.ljust(40, b"\0") + MAGIC


def header(shards: int = 1, *, big_endian: int = 0, least_reader: int = 0) -> bytes:
    """Give the message that an index begins with."""
    version = number_field(1, 1) + (number_field(2, least_reader) if least_reader else b"")
    return number_field(1, shards) + (number_field(2, big_endian) if big_endian else b"") + bytes_field(3, version)


@dataclass
class Bundle:
    """A checkpoint in the making: change what you like, then take its files.

    The files are named by what follows the prefix: ".index", ".data-00000-of-00001".
    """

    entries: dict[str, Entry] = field(default_factory=dict)
    shards: list[bytes] = field(default_factory=list)
    header: bytes = b""
    compress: bool = False
    block_size: int = 256

    @classmethod
    def of(cls, tensors: dict[str, tuple[str, np.ndarray]], shards: int = 1) -> Bundle:
        """Give a bundle of tensors: name -> (TensorFlow's name of the dtype, the array as it is stored)."""
        bundle = cls(shards=[b""] * shards, header=header(shards))
        for index, (name, (dtype, array)) in enumerate(tensors.items()):
            data, shard = array.astype(STORED_AS.get(dtype, array.dtype)).tobytes(), index % shards
            offset = len(bundle.shards[shard])
            entry = Entry(NUMBERS[dtype], array.shape, shard, offset, len(data), masked_crc(data))
            bundle.entries[name] = entry
            bundle.shards[shard] += data
        return bundle

    def change(self, name: str, **fields: object) -> Bundle:
        """Change fields of one entry."""
        self.entries[name] = replace(self.entries[name], **fields)  # type: ignore[arg-type]
        return self

    def pairs(self) -> list[tuple[bytes, bytes]]:
        """Give the keys and values of the index, sorted."""
        entries = sorted((name.encode(), entry.encode()) for name, entry in self.entries.items())
        return [(b"", self.header), *entries]

    def files(self) -> dict[str, bytes]:
        """Give the checkpoint's files, content by suffix."""
        index = table(self.pairs(), compress=self.compress, block_size=self.block_size)
        total = len(self.shards)
        data = {f".data-{number:05d}-of-{total:05d}": shard for number, shard in enumerate(self.shards)}
        return {**data, ".index": index}


def tar(files: dict[str, bytes]) -> bytes:
    """Give a tar of regular files by their names, in the order given."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def tar_gz(files: dict[str, bytes]) -> bytes:
    """Give a compressed archive of files."""
    return gzip.compress(tar(files), 1, mtime=0)


def sample(shards: int = 1, seed: int = 0) -> Bundle:
    """Every dtype that is read, a scalar, an empty tensor and names that share prefixes."""
    rng = np.random.default_rng(seed)
    tensors = {
        "global_step": ("int64", np.array(375000)),
        "moat/block_00_00/norm/beta": ("float32", rng.standard_normal(5)),
        "moat/block_00_00/norm/gamma": ("float32", rng.standard_normal((2, 3, 4))),
        "moat/block_00_01/norm/gamma": ("bfloat16", rng.integers(0, 1 << 15, (3, 4))),
        "moat/empty": ("float32", np.zeros((0, 3))),
        "moat/half": ("float16", rng.standard_normal(7)),
        "moat/whole": ("int32", rng.integers(-9, 9, 4)),
    }
    return Bundle.of(tensors, shards)
