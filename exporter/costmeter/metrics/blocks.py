"""Pieces of a page, joined into one body: as they are, or as one gzip member.

A block is compressed at most once, as raw deflate that ends in a full flush: such pieces stand
alone and may be joined freely (RFC 1951, RFC 1952; zlib documents Z_FULL_FLUSH). A page of
which one part in a hundred changed is therefore compressed for that part only. The result is a
single gzip member: several members in a row are legal, but many HTTP clients stop silently
after the first.

Between scrapes a block keeps its compressed form and not its text, which is nine times as long
and written again in no time should somebody ask for a page without gzip.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from isal import isal_zlib

#: ISA-L's level 1 costs as much as its level 0 on such pages and is a third smaller.
_LEVEL = 1
_RAW_DEFLATE = -15
#: Magic, deflate, no flags, no time of change, "fastest", system unknown (RFC 1952, 2.3).
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"
#: A final deflate block that holds nothing but its end (RFC 1951, 3.2.6).
_LAST_BLOCK = b"\x03\x00"


class Packed(NamedTuple):
    """Raw deflate that refers to nothing before it; the length of its text and its CRC's part.

    A CRC-32 is linear: appending a text changes the CRC of what came before as appending as
    many zeros does, but for a difference that the text alone decides. `crc_over_zeros` is that
    difference, so that the CRC of a page can be had without its text.
    """

    deflated: bytes
    size: int
    crc_over_zeros: int


class Block:
    """An immutable part of a page: text, or lines with gaps (`%d`, `%b`) and what fills them."""

    __slots__ = ("_gaps", "_lines", "_packed")

    def __init__(self, lines: bytes, gaps: tuple[int | bytes, ...] | None = None) -> None:
        self._lines = lines
        self._gaps = gaps
        self._packed: Packed | None = None

    def text(self) -> bytes:
        """The finished text; TypeError when there are more or fewer values than gaps."""
        return self._lines if self._gaps is None else self._lines % self._gaps

    def packed(self) -> Packed:
        if self._packed is None:
            text = self.text()
            packer = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _RAW_DEFLATE)
            deflated = packer.compress(text) + packer.flush(isal_zlib.Z_FULL_FLUSH)
            zeros = bytes(len(text))
            difference = isal_zlib.crc32(text) ^ isal_zlib.crc32(zeros)
            self._packed = Packed(deflated, len(text), difference)
        return self._packed


def joined(blocks: Iterable[Block]) -> bytes:
    """The text of all blocks."""
    return b"".join([block.text() for block in blocks])


def gzipped(blocks: Iterable[Block]) -> bytes:
    """The text of all blocks as one gzip member."""
    parts = [_GZIP_HEADER]
    checksum = size = 0
    for block in blocks:
        packed = block.packed()
        parts.append(packed.deflated)
        checksum = isal_zlib.crc32(bytes(packed.size), checksum) ^ packed.crc_over_zeros
        size += packed.size
    trailer = checksum.to_bytes(4, "little") + (size % 2**32).to_bytes(4, "little")
    parts += (_LAST_BLOCK, trailer)
    return b"".join(parts)
