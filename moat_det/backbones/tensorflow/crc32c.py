"""CRC-32C (Castagnoli), in the form that tables and checkpoints store."""

from __future__ import annotations

import google_crc32c

_CHUNK = 1 << 18  # bytes at a time: google_crc32c takes read-only bytes, and a whole tensor is not copied for it


def masked_crc32c(data: memoryview | bytes) -> int:
    """Give the CRC-32C of `data`, rotated by 15 bits, plus a constant: an unsigned integer of 32 bits."""
    view = memoryview(data).cast("B")
    checksum = 0
    for start in range(0, len(view), _CHUNK):
        checksum = google_crc32c.extend(checksum, bytes(view[start : start + _CHUNK]))
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
