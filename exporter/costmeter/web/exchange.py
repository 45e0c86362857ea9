"""A request as the routes see it, and the answer that they give back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, NamedTuple

import msgspec

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


class Request:
    """One HTTP request; header names are lower case."""

    __slots__ = ("_headers", "receive", "scope")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self.receive = receive
        self._headers: Mapping[bytes, bytes] | None = None

    @property
    def method(self) -> str:
        return str(self.scope["method"])

    @property
    def path(self) -> str:
        return str(self.scope["path"])

    @property
    def query(self) -> str:
        return bytes(self.scope.get("query_string", b"")).decode("latin-1")

    def header(self, name: str) -> str | None:
        """The value of a header, or None. Of a repeated header the last one counts."""
        if self._headers is None:
            self._headers = dict(self.scope["headers"])
        value = self._headers.get(name.encode())
        return None if value is None else value.decode("latin-1")


class Response(NamedTuple):
    status: int
    body: bytes
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()

    async def send(
        self, send: Send, added: tuple[tuple[str, str], ...] = (), *, head: bool = False
    ) -> None:
        """Send it; `added` headers give way to those of the answer itself."""
        headers = {
            "content-type": self.content_type,
            "content-length": str(len(self.body)),
            "x-content-type-options": "nosniff",
        }
        headers.update(self.headers)
        for name, value in added:
            headers.setdefault(name, value)
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": pairs})
        await send({"type": "http.response.body", "body": b"" if head else self.body})


class Problem(Exception):
    """Ends the handling of a request with a plain answer."""

    def __init__(
        self,
        status: int,
        text: str,
        *,
        headers: tuple[tuple[str, str], ...] = (),
        line: int | None = None,
        byte: int | None = None,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers
        self.line = line
        self.byte = byte

    def response(self, *, as_json: bool) -> Response:
        if not as_json:
            return Response(self.status, f"{self.text}\n".encode(), TEXT, self.headers)
        said: dict[str, object] = {"error": self.text}
        if self.line is not None:
            said["line"] = self.line
        if self.byte is not None:
            said["byte"] = self.byte
        return Response(self.status, msgspec.json.encode(said), JSON, self.headers)


class ClientGone(Exception):
    """The client hung up before its request was complete; nobody is left to answer."""
