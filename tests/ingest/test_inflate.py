from __future__ import annotations

import gzip
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmeter.ingest.inflate import STEP_BYTES, gunzip
from costmeter.ingest.refusal import TooLarge, Unreadable

LIMIT = 8 << 20


def unpacked(packed: bytes, limit: int = LIMIT) -> bytes:
    return b"".join(gunzip(packed, limit))


@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=4))
def test_what_was_packed_comes_back(members: list[bytes]) -> None:
    assert unpacked(b"".join(map(gzip.compress, members))) == b"".join(members)


def test_large_bodies_come_in_bounded_pieces() -> None:
    text = bytes(range(256)) * 20_000
    pieces = list(gunzip(gzip.compress(text), LIMIT))
    assert b"".join(pieces) == text
    assert max(map(len, pieces)) <= STEP_BYTES


def test_padding_after_the_last_member_is_allowed() -> None:
    assert unpacked(gzip.compress(b"a") + b"\0\0\0") == b"a"


def test_exactly_the_limit_is_allowed() -> None:
    assert len(unpacked(gzip.compress(b"a" * 1000), 1000)) == 1000
    with pytest.raises(TooLarge):
        unpacked(gzip.compress(b"a" * 1001), 1000)


def test_a_bomb_stops_early() -> None:
    bomb = gzip.compress(b"\0" * (100 << 20), 6)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            for _ in gunzip(bomb, LIMIT):
                pass
        assert tracemalloc.get_traced_memory()[1] < 4 * STEP_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("cut", [1, 5, 12, 18])
def test_a_cut_stream_is_told(cut: int) -> None:
    packed = gzip.compress(b"some text that is long enough" * 10)
    with pytest.raises(Unreadable):
        unpacked(packed[:-cut])


def test_a_wrong_checksum_is_told() -> None:
    packed = bytearray(gzip.compress(b"some text"))
    packed[-6] ^= 1
    with pytest.raises(Unreadable):
        unpacked(bytes(packed))


def test_an_empty_body_is_no_gzip() -> None:
    with pytest.raises(Unreadable):
        unpacked(b"")


@given(st.binary(max_size=200))
def test_garbage_never_does_more_than_refuse(garbage: bytes) -> None:
    for packed in (garbage, gzip.compress(b"abc")[:10] + garbage, gzip.compress(b"abc") + garbage):
        with suppress(Unreadable, TooLarge):
            unpacked(packed, 10_000)
