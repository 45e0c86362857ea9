"""gzip bodies, unpacked step by step so that a bomb stops early."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from costmeter.ingest.refusal import TooLarge, Unreadable

_codec: Any
try:
    from isal import isal_zlib as _codec
except ImportError:  # a platform without wheels of isal: the standard library is slower only
    _codec = zlib

#: How much is unpacked before somebody looks at the sum again.
STEP_BYTES = 1 << 20
_GZIP = 16 + zlib.MAX_WBITS
_BROKEN: tuple[type[Exception], ...] = (zlib.error, _codec.error)


def gunzip(packed: bytes, limit_bytes: int) -> Iterator[bytes]:
    """The pieces of a gzip body, each at most `STEP_BYTES`, members joined.

    Raises TooLarge as soon as more than `limit_bytes` came out, and Unreadable when
    the stream is no gzip, is damaged, or ends early.
    """
    total = 0
    rest = packed
    while True:
        member: Any = _codec.decompressobj(wbits=_GZIP)
        while not member.eof:
            try:
                piece: bytes = member.decompress(rest, STEP_BYTES)
            except _BROKEN as error:
                raise Unreadable(f"the body is not valid gzip: {error}") from None
            rest = member.unconsumed_tail
            total += len(piece)
            if total > limit_bytes:
                raise TooLarge(
                    f"the body unpacks to more than {limit_bytes} bytes; send it in smaller parts"
                )
            if piece:
                yield piece
            elif not rest and not member.eof:
                raise Unreadable("the gzip stream ends early; the upload was cut off")
        # Zero bytes after the last member are padding, as gzip(1) takes them.
        rest = member.unused_data.lstrip(b"\0")
        if not rest:
            return
