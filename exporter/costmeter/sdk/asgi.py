"""ASGI middleware: whom a request is for, in every call that is tracked while it is served.

Pure ASGI: it sets a context variable and hands the very same `receive` and `send` on. So
streams, websockets and background tasks pass untouched, and so do errors. What handlers
record, in the event loop, in threads or while they stream, carries the request's fields.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, ItemsView, Iterator, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from costmeter.sdk.context import CURRENT
from costmeter.sdk.event import Fields
from costmeter.sdk.meter import Meter

_LOG = logging.getLogger("costmeter.sdk")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Reads one field from a scope; None where the request does not say it.
Source = Callable[[Scope], Any]

#: Under this name the meter stands in `request.state`.
STATE = "costmeter"

_FIELDS = tuple(name for name in Fields.__annotations__ if name not in ("tags", "processing"))
#: The server's bound of a text. A longer one is left out: cut, it could be another's name.
MAX_TEXT = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_KINDS = "header:NAME, query:NAME, path:NAME, state:NAME, cookie:NAME, route, or a function"


class CostmeterMiddleware:
    """`app.add_middleware(CostmeterMiddleware, meter=meter, tenant_id="header:x-tenant")`.

    Each field is a text that says where it comes from, or a function of the ASGI scope:

    - `header:x-tenant`, `cookie:tenant`, `query:tenant`
    - `path:tenant`, a parameter of the route; `route`, the template of the route such as
      `/v1/answers/{id}`, or the function's name where there is no template
    - `state:tenant`, what another middleware or a dependency wrote into `request.state.tenant`

    `path`, `route` and `state` are read after routing, when a tracked call is written out.
    Values are texts without control characters and of at most 200 letters; others are left
    out and counted in `refused`. The meter is at hand as `request.state.costmeter`.

    Raises ValueError for a field or a source that does not exist.
    """

    def __init__(self, app: App, *, meter: Meter | None = None, **fields: str | Source) -> None:
        self.app = app
        self.meter = meter
        #: Values that were left out, by field.
        self.refused: dict[str, int] = {}
        self._early: list[tuple[str, Source]] = []
        self._late: list[tuple[str, Source]] = []
        self._headers: dict[bytes, tuple[str, ...]] = {}
        for name, source in fields.items():
            if name not in _FIELDS:
                raise ValueError(f"{name}: no such field; known are {', '.join(_FIELDS)}")
            self._add(name, source)

    def _add(self, name: str, source: str | Source) -> None:
        if not isinstance(source, str):
            self._early.append((name, source))
            return
        kind, _, key = source.partition(":")
        if kind == "header" and key:
            wanted = key.lower().encode("latin-1")
            self._headers[wanted] = (*self._headers.get(wanted, ()), name)
        elif kind in _EARLY and key:
            self._early.append((name, _EARLY[kind](key)))
        elif kind in _LATE and key:
            self._late.append((name, _LATE[kind](key)))
        elif source == "route":
            self._late.append((name, _route))
        else:
            raise ValueError(f"{name}={source!r}: expected {_KINDS}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        fields = self._fields(scope)
        token = CURRENT.set(fields)
        try:
            await self.app(scope, receive, send)
        finally:
            CURRENT.reset(token)
            if type(fields) is _Later:
                fields.settle()

    def _fields(self, scope: Scope) -> Mapping[str, object]:
        """The fields of a request, beside those of the code around it."""
        found: dict[str, object] = {}
        headers = self._headers
        if headers:
            for name, value in scope.get("headers", ()):
                if name in headers:
                    for field in headers[name]:
                        if field not in found:  # of a header that came twice, the first
                            self._put(found, field, value.decode("latin-1"))
        for field, source in self._early:
            self._read(found, field, source, scope)
        if self.meter is not None:
            scope.setdefault("state", {})[STATE] = self.meter
        outer = CURRENT.get()
        if outer:
            found = {**outer, **found}
        return _Later(found, self, scope) if self._late else found

    def later(self, found: Mapping[str, object], scope: Scope) -> dict[str, object]:
        """`found` and what is known of a request only after routing."""
        whole = dict(found)
        for field, source in self._late:
            self._read(whole, field, source, scope)
        return whole

    def _read(self, found: dict[str, object], field: str, source: Source, scope: Scope) -> None:
        try:
            value = source(scope)
            if value is not None and value != "":
                self._put(found, field, value)
        except Exception as error:  # noqa: BLE001 the request is served all the same
            self._refuse(field, error)

    def _put(self, found: dict[str, object], field: str, value: Any) -> None:
        text = value if isinstance(value, str) else str(value)
        if not text.isprintable():
            text = _CONTROL.sub("", text)
        text = text.strip()
        if len(text) > MAX_TEXT:
            self._refuse(field, None)
        elif text:
            found[field] = text

    def _refuse(self, field: str, error: BaseException | None) -> None:
        if field not in self.refused:
            why = "could not be read" if error else f"is longer than {MAX_TEXT} letters"
            _LOG.warning(
                "costmeter: the field %s of a request %s and was left out", field, why,
                exc_info=error,
            )  # fmt: skip
        self.refused[field] = self.refused.get(field, 0) + 1


class _Later(Mapping[str, object]):
    """Fields of a request that is still on its way to its handler.

    Tracking takes the mapping as it is, and reads it when the event is written out. At the
    end of the request it keeps the values and lets the request go.
    """

    __slots__ = ("_found", "_middleware", "_scope")

    def __init__(
        self, found: Mapping[str, object], middleware: CostmeterMiddleware, scope: Scope
    ) -> None:
        self._found = found
        self._middleware = middleware
        self._scope: Scope | None = scope

    def _all(self) -> Mapping[str, object]:
        scope = self._scope
        return self._found if scope is None else self._middleware.later(self._found, scope)

    def settle(self) -> None:
        # In this order: the sender's thread may be reading.
        self._found = self._all()
        self._scope = None

    def __getitem__(self, name: str) -> object:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __bool__(self) -> bool:
        return True

    def items(self) -> ItemsView[str, object]:
        # One reading for the whole of it.
        return self._all().items()


def _query(name: str) -> Source:
    def read(scope: Scope) -> str | None:
        text: bytes = scope.get("query_string", b"")
        return dict(parse_qsl(text.decode("latin-1"))).get(name) if text else None

    return read


def _cookie(name: str) -> Source:
    def read(scope: Scope) -> str | None:
        for header, value in scope.get("headers", ()):
            if header == b"cookie":
                for part in value.decode("latin-1").split(";"):
                    key, _, text = part.strip().partition("=")
                    if key == name:
                        return str(text).strip('"')
        return None

    return read


def _path(name: str) -> Source:
    return lambda scope: scope.get("path_params", {}).get(name)


def _state(name: str) -> Source:
    return lambda scope: scope.get("state", {}).get(name)


def _route(scope: Scope) -> str | None:
    """The template of a route, which has few values where the path has many."""
    template = getattr(scope.get("route"), "path", None)
    if isinstance(template, str) and template:
        return template
    endpoint = scope.get("endpoint")
    return getattr(endpoint, "__name__", None)


#: Known before the application has seen the request.
_EARLY: Mapping[str, Callable[[str], Source]] = {"query": _query, "cookie": _cookie}
#: Known after routing, or when other middleware has run.
_LATE: Mapping[str, Callable[[str], Source]] = {"path": _path, "state": _state}
