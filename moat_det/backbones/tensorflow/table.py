"""The sorted table of the index file: blocks of key-value pairs, found through a block of blocks.

https://github.com/google/leveldb/blob/main/doc/table_format.md, with TensorFlow's magic number, which is the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from moat_det.backbones.tensorflow import snappy
from moat_det.backbones.tensorflow.crc32c import masked_crc32c
from moat_det.backbones.tensorflow.errors import Fault
from moat_det.backbones.tensorflow.varint import read_varint

_MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
_FOOTER = 48  # two block handles, padded to 40 bytes, and the magic number
_TRAILER = 5  # compression type and checksum behind each block

# Far above any backbone's (tiny_moat0: 363 keys in 15 kB), and so low that a hostile table costs neither memory nor
# time: keys share prefixes and blocks may be compressed, so that a small table can stand for a large one.
MAX_TABLE = 2 << 20  # bytes of the file; of its blocks and keys together, when decompressed
_MAX_KEYS = 1 << 13
_MAX_KEY = 512
_MAX_VALUE = 1 << 14
BEYOND = "is it the checkpoint of a MOAT backbone?"


def read_table(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Read the pairs of a table in the order of their keys, which strictly increase.

    Args:
        table: The whole file.

    Yields:
        Key and value; the checksum of their block has been verified.

    Raises:
        Fault: The table is damaged, or beyond the limits of this module.
    """
    footer = table[-_FOOTER:]
    if len(footer) < _FOOTER or not footer.endswith(_MAGIC):
        raise Fault("not the index of a TensorFlow V2 checkpoint, or cut short")
    _, _, at = _handle(footer, 0)  # of the meta-index block, of which checkpoints make no use
    start, size, _ = _handle(footer, at)
    index = _block(table, start, size, MAX_TABLE)
    previous, keys, end, room = b"", 0, 0, MAX_TABLE
    for _, handle in _pairs(index):
        start, size, _ = _handle(handle, 0)
        if start < end:
            raise Fault("its blocks overlap or are out of order")
        end = start + size + _TRAILER
        block = _block(table, start, size, room)
        room -= len(block)
        before = keys
        for key, value in _pairs(block):
            if keys and key <= previous:
                raise Fault("its keys are out of order")
            previous = key
            keys += 1
            room -= len(key)
            if keys > _MAX_KEYS or room < 0:
                raise Fault(f"it holds more than {_MAX_KEYS} keys, or {MAX_TABLE} bytes of them", BEYOND)
            yield key, value
        if keys == before:
            raise Fault("one of its blocks is empty")


def _handle(data: bytes, at: int) -> tuple[int, int, int]:
    """Give offset and size of the block that a handle points to, and where the handle ends."""
    offset, at = read_varint(data, at)
    size, at = read_varint(data, at)
    return offset, size, at


def _block(table: bytes, start: int, size: int, limit: int) -> bytes:
    """Give the content of a block, verified and decompressed, to no more than `limit` bytes."""
    end = start + size
    if end + _TRAILER + _FOOTER > len(table):
        raise Fault("one of its blocks lies beyond the end of the file")
    if masked_crc32c(table[start : end + 1]) != int.from_bytes(table[end + 1 : end + _TRAILER], "little"):
        raise Fault("the checksum of one of its blocks is wrong")
    content, compression = table[start:end], table[end]
    if compression == 1:
        content = snappy.decompress(content, limit)
    elif compression != 0:
        raise Fault(f"one of its blocks is compressed by the unknown method {compression}")
    return content


def _pairs(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give the pairs of a block. Each key is stored as the bytes by which it differs from the end of the one before."""
    restarts = int.from_bytes(block[-4:], "little")  # where a search may start; we read from the front
    end = len(block) - 4 - 4 * restarts
    if end < 0:
        raise Fault("one of its blocks is too short")
    key, at = b"", 0
    while at < end:
        shared, at = read_varint(block, at)
        fresh, at = read_varint(block, at)
        size, at = read_varint(block, at)
        if shared > len(key) or fresh + size > end - at:
            raise Fault("one of its entries is cut short")
        if shared + fresh > _MAX_KEY or size > _MAX_VALUE:
            raise Fault(f"one of its keys or values is longer than {_MAX_KEY} or {_MAX_VALUE} bytes", BEYOND)
        key = key[:shared] + block[at : at + fresh]
        at += fresh
        yield key, block[at : at + size]
        at += size
