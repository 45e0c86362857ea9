"""The body of an answer: bounded in size and time, whole, unpacked; and what an error says."""

from __future__ import annotations

import gzip
import http.client
import json
import time
import zlib
from typing import Any

from costmeter.sources.contract import SourceError
from costmeter.sources.reading import clean

_CHUNK = 65_536


def body_of(answer: http.client.HTTPResponse, most: int, until: float, slow: str) -> bytes:
    """At most `most` bytes, also when unpacked, before the monotonic instant `until`.

    Raises SourceError: `too_large`, `malformed` for a body that was cut off, and `timeout`
    with the text `slow`.
    """
    parts: list[bytes] = []
    size = 0
    while True:
        # A server that sends a byte now and then would never run into the socket's limit.
        if time.monotonic() > until:
            raise SourceError("timeout", slow)
        part = answer.read1(_CHUNK)
        if not part:
            break
        size += len(part)
        if size > most:
            raise _too_large(most)
        parts.append(part)
    length = answer.getheader("Content-Length", "")
    if length.isdecimal() and size < int(length):
        raise SourceError("malformed", f"the answer was cut off after {size} of {length} bytes")
    packed = answer.getheader("Content-Encoding", "").lower() in ("gzip", "x-gzip")
    return _unpacked(b"".join(parts), most) if packed else b"".join(parts)


def _unpacked(body: bytes, most: int) -> bytes:
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        found = unpacker.decompress(body, most + 1)
    except (zlib.error, gzip.BadGzipFile):
        raise SourceError("malformed", "the answer is no readable gzip") from None
    if len(found) > most:
        raise _too_large(most)
    if not unpacker.eof:
        raise SourceError("malformed", "the answer was cut off within its gzip")
    return found


def _too_large(most: int) -> SourceError:
    return SourceError("too_large", f"the answer has more than {most} bytes")


def text_of(body: bytes) -> str:
    """UTF-8 text; raises SourceError."""
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise SourceError("malformed", f"the answer: no UTF-8 text, {len(body)} bytes") from None


def message(body: bytes) -> str:
    """What an error says for people, in any of the usual places; never a whole body."""
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if isinstance(found, dict) and isinstance(found.get("error_description"), str):
        found = found["error_description"]
    for name in ("error", "message", "detail"):
        if isinstance(found, dict) and name in found:
            found = found[name]
    return _without_keys(clean(found)) if isinstance(found, str) else ""


def _without_keys(said: str) -> str:
    """Providers quote the key that they refuse, at least in part."""
    return " ".join("<hidden>" if _like_a_key(word) else word for word in said.split())


def _like_a_key(word: str) -> bool:
    bare = word.strip("'\"`.,;:()")
    return bare.startswith(("sk-", "sk_", "pk-", "key-")) or (
        len(bare) > 20 and any(c.isdigit() for c in bare) and "/" not in bare
    )
