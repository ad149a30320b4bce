from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moat_det.backbones.tensorflow.errors import Fault
from moat_det.backbones.tensorflow.snappy import decompress
from tools import bundle_writer

LIMIT = 1 << 20


@pytest.mark.parametrize(
    ("compressed", "content"),
    [
        (b"\x00", b""),
        (b"\x03\x08abc", b"abc"),
        (b"\x0a\x00a\x22\x01\x00\x00", None),  # 9 bytes from 1 back, then a literal that is missing
        (b"\x0a\x00a\x22\x01\x00", b"a" * 10),
        (b"\x08\x0cabcd\x01\x04", b"abcdabcd"),  # one byte of offset
        (b"\x07\x08abc\x0f\x03\x00\x00\x00", b"abcabca"),  # four bytes of offset, overlapping
        (b"\x3d\xf0\x3c" + b"x" * 61, b"x" * 61),  # a literal whose size takes a byte of its own
    ],
)
def test_blocks_by_hand(compressed: bytes, content: bytes | None) -> None:
    if content is None:
        with pytest.raises(Fault):
            decompress(compressed, LIMIT)
    else:
        assert decompress(compressed, LIMIT) == content


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from([b"moat/", b"block_00", b"\0" * 40, b"abcabc", b"x"]), max_size=300))
def test_round_trip(words: list[bytes]) -> None:
    content = b"".join(words)
    assert decompress(bundle_writer.snappy(content), LIMIT) == content


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60))
def test_noise_is_a_fault_or_a_block_of_the_size_claimed(noise: bytes) -> None:
    with suppress(Fault):
        assert len(decompress(noise, LIMIT)) <= 22 * len(noise)


@pytest.mark.parametrize(
    ("compressed", "words"),
    [
        (b"", "a number is cut short"),
        (b"\xff" * 10 + b"\x01", "more than 64 bits"),
        (b"\xff\xff\xff\x7f\x00a", "claims to hold 268435455"),
        (b"\x02\x04a", "does not hold the bytes"),
        (b"\x02\x00a", "is cut short"),
        (b"\x01\x04ab", "does not hold the bytes"),
        (b"\x0a\x00a\x22\x02\x00", "copies from before its start"),
        (b"\x0a\x00a\x22\x00\x00", "copies from before its start"),
        (b"\x0a\x00a\x22", "copies from before its start"),
    ],
)
def test_broken_blocks(compressed: bytes, words: str) -> None:
    with pytest.raises(Fault, match=words):
        decompress(compressed, LIMIT)


def test_limit() -> None:
    with pytest.raises(Fault, match="claims to hold 100"):
        decompress(bundle_writer.snappy(b"abcd" * 25), 99)
