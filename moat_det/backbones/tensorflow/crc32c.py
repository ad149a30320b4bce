"""CRC-32C (Castagnoli), by google_crc32c where its compiled form is installed, else by NumPy.

A checksum is the remainder of the data, a polynomial over GF(2), divided by a polynomial P of degree 32. NumPy reaches
it by XORs of whole arrays: a multiple of P with few terms, x**130 + x**64 + ... + 1, says that a bit may be XORed onto
the bits 66, ..., 130 behind it instead. Squaring such a polynomial doubles its exponents, so the same holds for units
of 2**k bits, words and long runs of words among them: a few XORs halve the data, again and again.
"""

from __future__ import annotations

from functools import cache

import numpy as np

try:
    import google_crc32c

    # Without its compiled part the package is plain Python, far slower than the NumPy below.
    _NATIVE = google_crc32c.implementation == "c"
except ImportError:
    _NATIVE = False

_POLYNOMIAL = 0x82F63B78  # P without x**32; the highest power in the lowest bit, as CRC-32C orders bits
# Exponents of a multiple of P, found by search. The second is at most half the first: a fold may halve the data.
_MULTIPLE = (130, 64, 63, 60, 33, 32, 25, 0)
_CHUNK = 1 << 18  # bytes at a time: a small copy, in the cache of the processor


def crc32c(data: memoryview | bytes) -> int:
    """The CRC-32C of `data`, as an unsigned integer of 32 bits."""
    view = memoryview(data).cast("B")
    checksum = 0
    for start in range(0, len(view), _CHUNK):
        chunk = view[start : start + _CHUNK]
        checksum = google_crc32c.extend(checksum, bytes(chunk)) if _NATIVE else extend_with_numpy(checksum, chunk)
    return checksum


def masked_crc32c(data: memoryview | bytes) -> int:
    """The CRC-32C in the form that tables and checkpoints store: rotated by 15 bits, plus a constant."""
    checksum = crc32c(data)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def extend_with_numpy(checksum: int, data: memoryview | bytes) -> int:
    """The CRC-32C of what `checksum` stands for, followed by `data`.

    Args:
        checksum: The CRC-32C of the data before; 0 when there is none.
        data: Up to some MB: three copies of it are held.

    Returns:
        An unsigned integer of 32 bits.
    """
    # Zeros in front change nothing; the four zero bytes behind are the multiplication by x**32.
    buffer = np.zeros(-(-(len(data) + 4) // 8) * 8, np.uint8)
    start = len(buffer) - 4 - len(data)
    buffer[start:-4] = np.frombuffer(data, np.uint8)
    buffer[start : start + 4] ^= np.frombuffer((checksum ^ 0xFFFFFFFF).to_bytes(4, "little"), np.uint8)

    words = buffer.view(np.uint64)
    degree, *lower = _MULTIPLE
    while len(words) > degree:
        unit = 1 << (((len(words) - 1) // degree).bit_length() - 1)  # in words: the largest with degree * unit < length
        head = words[: min(len(words) - degree * unit, (degree - lower[0]) * unit)]
        for exponent in lower:
            start = (degree - exponent) * unit
            words[start : start + len(head)] ^= head
        words = words[len(head) :]

    bits = np.unpackbits(words.view(np.uint8), bitorder="little").view(bool)
    return int(np.bitwise_xor.reduce(_remainders()[-len(bits) :][bits])) ^ 0xFFFFFFFF


@cache
def _remainders() -> np.ndarray:
    """The remainder of every single bit of the longest data left by the folding, first bit first."""
    remainder = 0x80000000  # of the last bit, x**0
    remainders = []
    for _ in range(_MULTIPLE[0] * 64):
        remainders.append(remainder)
        remainder = remainder >> 1 ^ (_POLYNOMIAL if remainder & 1 else 0)
    return np.array(remainders[::-1], np.uint32)
