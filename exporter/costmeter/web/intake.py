"""Bodies on their way in: bounded one by one, and bounded together.

Back-pressure is by bytes: what is being read, unpacked or waiting for its commit counts
against one budget, and a body that does not fit is turned away before it takes memory.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import NamedTuple

from costmeter.ingest.inflate import gunzip
from costmeter.ingest.refusal import TooLarge, Unreadable
from costmeter.web.exchange import ClientGone, Problem, Request

_JSON = frozenset({"", "application/json", "text/json"})
_LINES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})


class Intake(NamedTuple):
    """`max_body_bytes` bounds a body as sent and as unpacked."""

    max_body_bytes: int = 10 * 1024 * 1024
    in_flight_bytes: int = 64 * 1024 * 1024
    body_seconds: float = 30
    retry_after_seconds: int = 1


class Budget:
    """Bytes of bodies in flight. Used by the event loop's thread alone."""

    def __init__(self, limits: Intake) -> None:
        # One body alone must always fit, sent and unpacked.
        self._limit = max(limits.in_flight_bytes, 2 * limits.max_body_bytes)
        self._retry_after = limits.retry_after_seconds
        self.used_bytes = 0

    def fits(self, more_bytes: int) -> None:
        """Raises Problem 429 when there is no room for this much."""
        if self.used_bytes + more_bytes > self._limit:
            raise crowded("too many bodies are in flight", self._retry_after)

    def hold(self) -> Hold:
        return Hold(self)


class Hold:
    """What one request takes of the budget, given back when it ends."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._bytes = 0

    def fits(self, more_bytes: int) -> None:
        self._budget.fits(more_bytes)

    def take(self, more_bytes: int) -> None:
        self._budget.fits(more_bytes)
        self._budget.used_bytes += more_bytes
        self._bytes += more_bytes

    def __enter__(self) -> Hold:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._budget.used_bytes -= self._bytes
        self._bytes = 0


def crowded(why: str, retry_after_seconds: int) -> Problem:
    return Problem(
        429,
        f"{why}; nothing was taken, send it again in {retry_after_seconds} s",
        headers=(("retry-after", str(retry_after_seconds)),),
    )


def is_lines(request: Request) -> bool:
    """True for NDJSON and false for JSON; raises Problem 415 for anything else."""
    said = (request.header("content-type") or "").lower()
    kind, _, rest = said.partition(";")
    kind = kind.strip()
    charset = rest.partition("charset=")[2].partition(";")[0].strip().strip('"')
    if charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise Problem(415, "the charset must be utf-8")
    if kind in _LINES:
        return True
    if kind in _JSON:
        return False
    curl = " (curl -d sends this type unless -H says otherwise)" if "urlencoded" in kind else ""
    raise Problem(
        415,
        f"unknown content type{curl}; send application/json or application/x-ndjson",
        headers=(("accept-post", "application/json, application/x-ndjson"),),
    )


async def read_body(request: Request, hold: Hold, limits: Intake) -> bytes:
    """The body, unpacked. Raises Problem 400, 408, 413, 415 or 429, and ClientGone."""
    packed = _is_packed(request)
    length = request.header("content-length")
    if length is not None and length.isascii() and length.isdigit():
        if int(length[:19]) > limits.max_body_bytes:
            raise _too_large(limits)
        hold.fits(int(length))
    try:
        async with asyncio.timeout(limits.body_seconds):
            body = await _collect(request, hold, limits)
    except TimeoutError:
        raise Problem(
            408,
            f"the body was not complete after {limits.body_seconds:g} s; nothing was taken",
            headers=(("connection", "close"),),
        ) from None
    return await _unpack(body, hold, limits) if packed else body


def _is_packed(request: Request) -> bool:
    encoding = (request.header("content-encoding") or "identity").strip().lower()
    if encoding in ("gzip", "x-gzip"):
        return True
    if encoding == "identity":
        return False
    raise Problem(
        415,
        "unknown content encoding; send gzip, or the plain text",
        headers=(("accept-encoding", "gzip"),),
    )


async def _collect(request: Request, hold: Hold, limits: Intake) -> bytes:
    pieces: list[bytes] = []
    total = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        piece: bytes = message.get("body", b"")
        total += len(piece)
        if total > limits.max_body_bytes:
            raise _too_large(limits)
        hold.take(len(piece))
        pieces.append(piece)
        if not message.get("more_body", False):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _unpack(body: bytes, hold: Hold, limits: Intake) -> bytes:
    pieces: list[bytes] = []
    try:
        for piece in gunzip(body, limits.max_body_bytes):
            hold.take(len(piece))
            pieces.append(piece)
            # A large body must not keep scrapes waiting for all of its pieces.
            await asyncio.sleep(0)
    except Unreadable as error:
        raise Problem(400, error.reason) from None
    except TooLarge as error:
        raise Problem(413, str(error)) from None
    return b"".join(pieces)


def _too_large(limits: Intake) -> Problem:
    return Problem(
        413, f"a body holds at most {limits.max_body_bytes} bytes; send it in smaller parts"
    )
