"""HTTP/1.1 requests out of the bytes of a connection; everything in them is bounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 64 * 1024


class Request(NamedTuple):
    """Header names are lower case; `client` is the address that it comes from."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    client: str


class BadRequest(Exception):
    """No request; the text is for the client."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def next_request(received: bytearray, client: str) -> tuple[Request, int, bool] | None:
    """The first request, its length in bytes, and whether the connection stays; None when
    it is not complete. Raises BadRequest."""
    # Robust readers skip empty lines before a request (RFC 9112, 2.2).
    while received[:2] == b"\r\n":
        del received[:2]
    end = received.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES + 4)
    if end < 0:
        if len(received) > MAX_HEAD_BYTES:
            raise BadRequest(431, f"the head of a request holds at most {MAX_HEAD_BYTES} bytes")
        return None
    first, *rows = bytes(received[:end]).decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[0].isalpha() or not words[2].startswith("HTTP/"):
        raise BadRequest(400, "this is no HTTP request")
    method, target, version = words
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise BadRequest(505, "this server speaks HTTP/1.1")
    headers = _headers(rows)
    if "transfer-encoding" in headers:
        raise BadRequest(501, "send the body with a content-length")
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit() and len(length) < 12):
        raise BadRequest(400, "content-length is no number")
    if int(length) > MAX_BODY_BYTES:
        raise BadRequest(413, "nothing here takes a body of that size")
    used = end + 4 + int(length)
    if len(received) < used:
        return None
    wish = headers.get("connection", "").lower()
    keep = "keep-alive" in wish if version == "HTTP/1.0" else "close" not in wish
    if not target.startswith("/"):
        # The absolute form, as proxies send it.
        target = "/" + target.partition("://")[2].partition("/")[2]
    path, _, query = target.partition("?")
    plain = unquote_to_bytes(path).decode("utf-8", "replace")
    return Request(method, plain, query, headers, client), used, keep


def _headers(rows: list[str]) -> Mapping[str, str]:
    """Of a repeated header the last one counts, but two lengths are no request."""
    headers: dict[str, str] = {}
    for row in rows:
        name, colon, value = row.partition(":")
        name = name.lower()
        if not colon or not name or name != name.strip():
            raise BadRequest(400, "a header line cannot be read")
        if name == "content-length" and headers.get(name, value.strip()) != value.strip():
            raise BadRequest(400, "two lengths of one body")
        headers[name] = value.strip()
    return headers
