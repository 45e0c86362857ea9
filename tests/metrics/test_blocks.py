from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmeter.metrics.blocks import Block, gzipped, joined

texts = st.binary(max_size=300) | st.builds(
    lambda line, times: line * times, st.binary(max_size=40), st.integers(0, 5_000)
)


@given(st.lists(texts, max_size=8), st.randoms())
def test_any_order_of_blocks_is_one_gzip_member(parts: list[bytes], random: object) -> None:
    blocks = [Block(part) for part in parts]
    assert joined(blocks) == b"".join(parts)
    body = gzipped(blocks)
    assert gzip.decompress(body) == b"".join(parts)
    # What a client does that knows one member only: nothing is left behind the end.
    one_member = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert one_member.decompress(body) == b"".join(parts)
    assert (one_member.eof, one_member.unused_data) == (True, b"")
    # Compressed before in one page, each block stands alone in the next.
    random.shuffle(blocks)  # type: ignore[attr-defined]
    assert gzip.decompress(gzipped(blocks)) == joined(blocks)


def test_an_empty_page_is_a_gzip_member() -> None:
    assert gzip.decompress(gzipped([])) == b""
    assert gzip.decompress(gzipped([Block(b"")])) == b""


def test_a_block_is_compressed_once() -> None:
    block = Block(b"llm_budget_monthly 5\n" * 1000)
    assert block.packed() is block.packed()
    assert len(block.packed().deflated) < len(block.text()) / 50


def test_gaps_are_filled() -> None:
    blocks = [Block(b"a %d\nb %de-9\n", (1, -2)), Block(b"c %b\n", (b"3.5",)), Block(b"d 5 %d\n")]
    assert joined(blocks) == gzip.decompress(gzipped(blocks)) == b"a 1\nb -2e-9\nc 3.5\nd 5 %d\n"
    with pytest.raises(TypeError):
        Block(b"a %d\n", (1, 2)).text()
    with pytest.raises(TypeError):
        Block(b"a %d b %d\n", (1,)).text()
