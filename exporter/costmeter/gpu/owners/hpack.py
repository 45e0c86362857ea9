"""Header blocks of HTTP/2 (RFC 7541): all of it for reading, the plainest of it for writing."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import cache

from costmeter.gpu.owners.hpack_tables import END_OF_TEXT, STATIC, huffman_codes

#: What SETTINGS_HEADER_TABLE_SIZE is when nobody says otherwise. An entry costs 32 more
#: than its texts.
TABLE_BYTES = 4096
_ENTRY_BYTES = 32
_LONGEST_CODE = 30

Header = tuple[bytes, bytes]


class Malformed(ValueError):
    """The block is not HPACK; the connection cannot go on, for its table is lost."""


def encode(headers: Iterable[Header]) -> bytes:
    """Literals that neither side remembers: right for the few headers of a small call."""
    return b"".join(b"\x00" + _text(name) + _text(value) for name, value in headers)


def _text(text: bytes) -> bytes:
    return _number(len(text), 7) + text


def _number(value: int, bits: int) -> bytes:
    most = (1 << bits) - 1
    if value < most:
        return bytes((value,))
    found = bytearray((most,))
    value -= most
    while value >= 128:
        found.append(value % 128 + 128)
        value //= 128
    found.append(value)
    return bytes(found)


class Decoder:
    """Reads one connection's blocks, in their order."""

    def __init__(self, table_bytes: int = TABLE_BYTES) -> None:
        self._limit = self._most = table_bytes
        self._table: deque[Header] = deque()
        self._bytes = 0

    def decode(self, block: bytes) -> list[Header]:
        """Raises Malformed."""
        found: list[Header] = []
        at = 0
        while at < len(block):
            first = block[at]
            if first & 0x80:
                number, at = _read_number(block, at, 7)
                found.append(self._entry(number))
            elif first & 0x40:
                header, at = self._literal(block, at, 6)
                self._remember(header)
                found.append(header)
            elif first & 0x20:
                size, at = _read_number(block, at, 5)
                if size > self._most or found:
                    raise Malformed("a table size out of place")
                self._limit = size
                self._shrink()
            else:
                header, at = self._literal(block, at, 4)
                found.append(header)
        return found

    def _literal(self, block: bytes, at: int, bits: int) -> tuple[Header, int]:
        number, at = _read_number(block, at, bits)
        if number:
            name = self._entry(number)[0]
        else:
            name, at = _read_text(block, at)
        value, at = _read_text(block, at)
        return (name, value), at

    def _entry(self, number: int) -> Header:
        if 1 <= number <= len(STATIC):
            return STATIC[number - 1]
        place = number - len(STATIC) - 1
        if not 0 <= place < len(self._table):
            raise Malformed(f"no header has the number {number}")
        return self._table[place]

    def _remember(self, header: Header) -> None:
        self._table.appendleft(header)
        self._bytes += len(header[0]) + len(header[1]) + _ENTRY_BYTES
        self._shrink()

    def _shrink(self) -> None:
        while self._bytes > self._limit:
            name, value = self._table.pop()
            self._bytes -= len(name) + len(value) + _ENTRY_BYTES


def _read_number(block: bytes, at: int, bits: int) -> tuple[int, int]:
    most = (1 << bits) - 1
    value = block[at] & most
    at += 1
    if value < most:
        return value, at
    for shift in range(0, 35, 7):
        if at >= len(block):
            break
        byte = block[at]
        at += 1
        value += (byte & 127) << shift
        if byte < 128:
            return value, at
    raise Malformed("a number without an end")


def _read_text(block: bytes, at: int) -> tuple[bytes, int]:
    if at >= len(block):
        raise Malformed("a text without a length")
    huffman = block[at] & 0x80
    size, at = _read_number(block, at, 7)
    text = block[at : at + size]
    if len(text) < size:
        raise Malformed("a text without an end")
    return (_unpack(text) if huffman else text), at + size


def _unpack(text: bytes) -> bytes:
    codes = _codes()
    found = bytearray()
    code = length = 0
    for byte in text:
        for shift in range(7, -1, -1):
            code = code << 1 | (byte >> shift & 1)
            length += 1
            symbol = codes.get((length, code))
            if symbol is not None:
                if symbol == END_OF_TEXT:
                    raise Malformed("the end of a text inside it")
                found.append(symbol)
                code = length = 0
            elif length >= _LONGEST_CODE:
                raise Malformed("a code that nobody has")
    # What is left over are the first bits of the end: ones, and less than a byte of them.
    if length > 7 or code != (1 << length) - 1:
        raise Malformed("a text that ends in the middle")
    return bytes(found)


#: Made when the first such text comes.
_codes = cache(huffman_codes)
