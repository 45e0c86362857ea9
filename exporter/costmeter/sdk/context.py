"""Attributes of the request at hand: who it is for, in every call below it.

They live in a context variable, so threads and asyncio tasks each see their own, and a
task starts with those of the code that started it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Unpack

from costmeter.sdk.event import Fields

#: Never changed in place: an event that waits for its encoding points at the mapping.
CURRENT: ContextVar[Mapping[str, object] | None] = ContextVar("costmeter_attributes", default=None)


class Attributes:
    """Fields for every event of a `with` block; inner blocks win over outer ones."""

    __slots__ = ("_fields", "_token")

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = fields
        self._token: Token[Mapping[str, object] | None] | None = None

    def __enter__(self) -> None:
        outer = CURRENT.get()
        self._token = CURRENT.set({**outer, **self._fields} if outer else dict(self._fields))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        token, self._token = self._token, None
        if token is None:
            return
        try:
            CURRENT.reset(token)
        except ValueError:
            # A generator that is closed by other code ends outside the context it began
            # in. That context is gone, and its attributes with it.
            return


def attributes(**fields: Unpack[Fields]) -> Attributes:
    """Give every event tracked inside `with attributes(tenant_id="acme"): ...` these fields.

    A field that is named at the call itself wins. It holds for every meter of the process.
    """
    return Attributes(dict(fields))


def current() -> Mapping[str, object]:
    """The attributes that hold here; empty when none were given."""
    return CURRENT.get() or {}
