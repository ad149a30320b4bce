"""The variable-length integers that tables, protocol buffers and snappy share."""

from __future__ import annotations

from moat_det.backbones.tensorflow.errors import Fault


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Read an unsigned integer of seven bits a byte, lowest first.

    Args:
        data: The bytes.
        at: Where the integer starts.

    Returns:
        The integer, in [0, 2**64), and where it ends.

    Raises:
        Fault: It runs past the end of the data or has more than 64 bits.
    """
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise Fault("a number is cut short")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                break
            return value, at
    raise Fault("a number has more than 64 bits")
