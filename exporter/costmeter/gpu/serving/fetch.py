"""One page of a model server over HTTP: bounded in time, in length and in memory.

Of a page only the lines that are wanted are kept. A page that ends too early is none: its
counters would look like those of a server that began anew.
"""

from __future__ import annotations

import socket
import threading
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import urlsplit

MOST_BYTES = 8 << 20
#: For reaching the server, and for its whole answer after that.
TIMEOUT_SECONDS = 5.0
_MOST_OF_A_LINE = 1 << 20
_PIECE = 1 << 16


class Unanswered(Exception):
    """The server gave no page; the text says why, without any part of what it answered."""


class TooSlow(Unanswered):
    """It kept us waiting, and would do so again."""


def fetch(url: str, wanted: tuple[str, ...], timeout_seconds: float = TIMEOUT_SECONDS) -> str:
    """The lines at `url` that begin with one of `wanted`.

    Raises Unanswered; redirects are not followed.
    """
    late = threading.Event()
    try:
        parts = urlsplit(url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=timeout_seconds)
        with closing(connection):
            connection.connect()
            watch = threading.Timer(timeout_seconds, _cut, (connection.sock, late))
            watch.daemon = True
            watch.start()
            try:
                path = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
                headers = {"Accept": "text/plain", "Connection": "close"}
                connection.request("GET", path, headers=headers)
                with closing(connection.getresponse()) as answer:
                    return _lines(answer, tuple(name.encode() for name in wanted))
            finally:
                watch.cancel()
    except (OSError, HTTPException, ValueError, Unanswered) as error:
        if late.is_set() or isinstance(error, TimeoutError):
            raise TooSlow(f"it takes longer than {timeout_seconds:g} seconds") from None
        if isinstance(error, Unanswered):
            raise
        raise Unanswered(f"it cannot be reached ({error or type(error).__name__})") from None


def _cut(connected: socket.socket, late: threading.Event) -> None:
    """End an answer that comes too slowly, whatever it waits for."""
    late.set()
    with suppress(OSError):
        # The plain socket's: one of TLS would change what the reading thread uses.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)


def _lines(answer: HTTPResponse, wanted: tuple[bytes, ...]) -> str:
    if answer.status != 200:
        raise Unanswered(f"it answers with status {answer.status}")
    told = answer.getheader("Content-Length", "")
    length = int(told) if told.isascii() and told.isdigit() and not answer.chunked else None
    read, rest, kept = 0, b"", list[bytes]()
    while read != length and (piece := answer.read1(_PIECE)):
        read += len(piece)
        *whole, rest = (rest + piece).split(b"\n")
        kept += [line for line in whole if line.startswith(wanted)]
        if read > MOST_BYTES:
            raise Unanswered(f"its page is longer than {MOST_BYTES >> 20} MiB")
        if len(rest) > _MOST_OF_A_LINE:
            raise Unanswered(f"a line of its page is longer than {_MOST_OF_A_LINE >> 20} MiB")
    if length is not None:
        if read < length:
            raise Unanswered("its page ends too early")
    elif rest and not answer.chunked:
        # Nothing says how long it is; a page of metrics ends with the end of a line.
        raise Unanswered("its page ends in the middle of a line")
    if rest.startswith(wanted):
        kept.append(rest)
    return b"\n".join(kept).decode("utf-8", "replace")
