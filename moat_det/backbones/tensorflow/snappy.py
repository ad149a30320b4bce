"""Decompression of snappy blocks.

https://github.com/google/snappy/blob/main/format_description.txt
"""

from __future__ import annotations

from moat_det.backbones.tensorflow.errors import Fault
from moat_det.backbones.tensorflow.varint import read_varint

_BEST_RATIO = 22  # a copy of 64 bytes takes at least 3


def decompress(data: bytes, limit: int) -> bytes:
    """Decompress a block.

    Args:
        data: The compressed block: its length when decompressed, then literals and copies.
        limit: The most bytes to decompress to.

    Returns:
        The block.

    Raises:
        Fault: The data is not a snappy block or decompresses to more than `limit` bytes.
    """
    length, at = read_varint(data, 0)
    if length > min(limit, _BEST_RATIO * len(data)):
        raise Fault(f"a snappy block of {len(data)} bytes claims to hold {length}")
    out = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        if tag & 3 == 0:
            size, at = _literal_size(tag, data, at)
            piece = data[at : at + size]
            at += size
        else:
            size, offset, at = _copy(tag, data, at)
            if not 0 < offset <= len(out):
                raise Fault("a snappy block copies from before its start")
            piece = bytes(out[len(out) - offset : len(out) - offset + size])
            if offset < size:  # the copy overlaps what it writes: a pattern repeats
                piece = (piece * -(-size // offset))[:size]
        if len(piece) < size or len(out) + size > length:
            raise Fault("a snappy block does not hold the bytes that it claims")
        out += piece
    if len(out) != length:
        raise Fault("a snappy block is cut short")
    return bytes(out)


def _literal_size(tag: int, data: bytes, at: int) -> tuple[int, int]:
    """Give the bytes of a literal, and where it starts."""
    size = tag >> 2
    if size < 60:
        return size + 1, at
    width = size - 59
    return int.from_bytes(data[at : at + width], "little") + 1, at + width


def _copy(tag: int, data: bytes, at: int) -> tuple[int, int, int]:
    """Give the bytes to copy, how far back they start, and where the next element starts."""
    width = (0, 1, 2, 4)[tag & 3]
    offset = int.from_bytes(data[at : at + width], "little")
    if width == 1:
        return (tag >> 2 & 7) + 4, tag >> 5 << 8 | offset, at + 1
    return (tag >> 2) + 1, offset, at + width
