"""As much of the protocol buffers' wire format as the index of a checkpoint needs.

https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from moat_det.backbones.tensorflow.errors import Fault
from moat_det.backbones.tensorflow.varint import read_varint

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class Message:
    """The fields of one message.

    Args:
        data: The encoded message.

    Raises:
        Fault: It is not an encoded message.
    """

    def __init__(self, data: bytes) -> None:
        self._fields: dict[int, list[int | bytes]] = {}
        at = 0
        while at < len(data):
            tag, at = read_varint(data, at)
            value: int | bytes
            kind = tag & 7
            if kind == VARINT:
                value, at = read_varint(data, at)
            elif kind in (FIXED64, BYTES, FIXED32):
                if kind == BYTES:
                    size, at = read_varint(data, at)
                else:
                    size = 8 if kind == FIXED64 else 4
                if size > len(data) - at:
                    raise Fault("a field of an index entry is cut short")
                raw = data[at : at + size]
                value = raw if kind == BYTES else int.from_bytes(raw, "little")
                at += size
            else:
                raise Fault(f"a field of an index entry has the unknown wire type {kind}")
            self._fields.setdefault(tag >> 3, []).append(value)

    def integer(self, number: int) -> int:
        """Give the signed integer in a field (the last one, as the format says); 0 where the field is absent."""
        value = self._fields.get(number, [0])[-1]
        if isinstance(value, bytes):
            raise Fault(f"field {number} of an index entry is not a number")
        return value - (1 << 64) if value >> 63 else value

    def messages(self, number: int) -> list[Message]:
        """Give the messages in a repeated field; empty where the field is absent."""
        values = self._fields.get(number, [])
        if not all(isinstance(value, bytes) for value in values):
            raise Fault(f"field {number} of an index entry is not a message")
        return [Message(value) for value in values if isinstance(value, bytes)]
