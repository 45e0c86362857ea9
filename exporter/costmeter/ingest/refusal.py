"""How the push side says no: to one event, or to a whole body."""

from __future__ import annotations

from typing import NamedTuple


class Rejection(NamedTuple):
    """One event that was not taken.

    `place` counts from 0 in the order of the body. `retriable` is true when the same
    event can be right later. `code` is the closed set that the metrics count by:
    missing, invalid, unknown_field, too_old, future, tenant, usage, unreadable,
    unknown_event, excess.
    """

    place: int
    field: str
    reason: str
    retriable: bool
    code: str

    def answer(self) -> dict[str, object]:
        """The rejection as it stands in the answer to the sender."""
        return {
            "index": self.place,
            "field": self.field,
            "reason": self.reason,
            "retriable": self.retriable,
        }


class Refused(Exception):
    """Why one event cannot be taken; becomes a `Rejection` where its place is known."""

    def __init__(
        self, field: str, reason: str, *, code: str = "invalid", retriable: bool = False
    ) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason
        self.code = code
        self.retriable = retriable

    def at(self, place: int) -> Rejection:
        return Rejection(place, self.field, self.reason, self.retriable, self.code)


class Unreadable(Exception):
    """The body as a whole makes no sense; nothing of it was taken.

    `line` (from 1) and `byte` (from 0) say where, as far as that is known.
    """

    def __init__(self, reason: str, *, line: int | None = None, byte: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.byte = byte


class TooLarge(Exception):
    """More bytes or more events than one body may hold; the text names the limit."""
