"""Header blocks: the examples of RFC 7541, what is not one, and another library's."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmeter.gpu.owners.hpack import Decoder, Malformed, encode

#: Appendix C.4 and C.3: three requests on one connection, with Huffman codes and without.
REQUESTS = [
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")],
    [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
        ("cache-control", "no-cache"),
    ],
    [
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/index.html"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
    ],
]
HUFFMAN = [
    "828684418cf1e3c2e5f23a6ba0ab90f4ff",
    "828684be5886a8eb10649cbf",
    "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
]
PLAIN = [
    "828684410f7777772e6578616d706c652e636f6d",
    "828684be58086e6f2d6361636865",
    "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
]
#: Appendix C.5: three answers over a table of 256 bytes, so that entries have to go.
_ANSWERS = """
4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a32
3120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d

4803333037c1c0bf

88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a6970
7738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d61
67653d333630303b2076657273696f6e3d31
"""


def read(decoder: Decoder, text: str) -> list[tuple[str, str]]:
    return [(name.decode(), value.decode()) for name, value in decoder.decode(bytes.fromhex(text))]


@pytest.mark.parametrize("blocks", [HUFFMAN, PLAIN], ids=["huffman", "plain"])
def test_the_requests_of_the_rfc(blocks: list[str]) -> None:
    decoder = Decoder()
    assert [read(decoder, block) for block in blocks] == REQUESTS


def test_entries_leave_a_full_table() -> None:
    decoder = Decoder(256)
    found = [read(decoder, block) for block in _ANSWERS.split("\n\n")]
    assert [dict(one)[":status"] for one in found] == ["302", "307", "200"]
    assert found[1][1:] == [
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", "https://www.example.com"),
    ]
    cookie = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
    assert found[2][-1] == ("set-cookie", cookie)


def test_the_table_can_be_made_smaller() -> None:
    decoder = Decoder()
    assert read(decoder, PLAIN[0]) == REQUESTS[0]
    assert read(decoder, "20" + "82") == [(":method", "GET")]
    with pytest.raises(Malformed, match="number 62"):
        read(decoder, "be")


@pytest.mark.parametrize(
    "block",
    [
        "80", "ff", "c0", "ffffffffffff0f", "400a6375", "0081", "3fe21f", "8220", "008130",
        "0084ffffffff",
    ],
    ids=[
        "number 0", "no end", "not there", "too long", "text cut off", "no value",
        "table too large", "size not first", "no value after huffman", "end of text inside",
    ],
)  # fmt: skip
def test_what_is_no_block_is_refused(block: str) -> None:
    with pytest.raises(Malformed):
        Decoder().decode(bytes.fromhex(block))


_HEADERS = st.lists(
    st.tuples(st.binary(min_size=1, max_size=200), st.binary(max_size=400)), max_size=8
)


@given(_HEADERS)
def test_what_is_written_can_be_read(headers: list[tuple[bytes, bytes]]) -> None:
    assert Decoder().decode(encode(headers)) == headers


@settings(deadline=None)
@given(st.lists(st.tuples(_HEADERS, st.booleans()), max_size=6))
def test_another_library_is_understood(
    blocks: list[tuple[list[tuple[bytes, bytes]], bool]],
) -> None:
    theirs = pytest.importorskip("hpack", reason="needs the package hpack")
    encoder, decoder = theirs.Encoder(), Decoder()
    for headers, huffman in blocks:
        assert decoder.decode(encoder.encode(headers, huffman=huffman)) == headers


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(block: bytes) -> None:
    with suppress(Malformed):
        assert isinstance(Decoder().decode(block), list)
