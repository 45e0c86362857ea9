"""Cells of a bill's file as values: text, instants, and amounts that are exact."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation
from typing import Any

import msgspec

from costmeter.model import NANO_PER_USD

#: Adds without rounding: more digits than sums of what `amount` lets through can have.
EXACT = Context(prec=130, traps=[InvalidOperation, Inexact])
_MOST = Decimal(10**12)
_LONGEST = 64
#: What exports write where they have nothing to say.
_NOTHING = frozenset({"", "null", "none", "nan", "n/a"})


class Unreadable(Exception):
    """A row that cannot be read, by the column that keeps it from being read."""

    def __init__(self, column: str, why: str) -> None:
        super().__init__(f"{column}: {why}" if column else why)
        self.column = column
        self.why = why


def text(cell: Any) -> str:
    """A cell as text; empty where nothing is said, in whichever way."""
    if cell is None:
        return ""
    said = str(cell).strip()
    return "" if said.lower() in _NOTHING else said


def amount(cell: Any, column: str) -> Decimal | None:
    """Exactly what is written; of a binary number, the shortest text that means it."""
    if isinstance(cell, Decimal):
        found = cell
    elif isinstance(cell, bool):
        raise Unreadable(column, "is no amount")
    elif isinstance(cell, float | int):
        found = Decimal(repr(cell))
    else:
        said = text(cell)
        if not said:
            return None
        if len(said) > _LONGEST or "_" in said:
            raise Unreadable(column, f"{said[:40]!r} is no amount")
        try:
            found = Decimal(said)
        except InvalidOperation:
            raise Unreadable(column, f"{said[:40]!r} is no amount") from None
    if not found.is_finite():
        raise Unreadable(column, "is no finite amount")
    if abs(found) > _MOST or found.as_tuple().exponent < -40:  # type: ignore[operator]
        raise Unreadable(column, "is an amount beyond all reason")
    return found


def instant(cell: Any, column: str) -> int:
    """Milliseconds since 1970. Without a zone it is UTC; a date alone is its midnight."""
    if isinstance(cell, int) and not isinstance(cell, bool):
        return cell  # a typed column, which the reader has turned into milliseconds
    said = text(cell)
    if not said:
        raise Unreadable(column, "is empty")
    try:
        found = datetime.fromisoformat(said)
    except ValueError:
        found = _american(said, column)
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    return int(found.timestamp() * 1000)


def _american(said: str, column: str) -> datetime:
    """Month/day/year, as Azure's details have it."""
    try:
        month, day, year = (int(part) for part in said.split(" ", maxsplit=1)[0].split("/"))
        found = date(year, month, day)
    except ValueError:
        raise Unreadable(column, f"{said[:40]!r} is no date or instant") from None
    return datetime(found.year, found.month, found.day)  # noqa: DTZ001 - the caller adds the zone


def pairs(cell: Any) -> Mapping[str, str]:
    """Tags, from a typed map or from text; what cannot be understood says nothing."""
    if isinstance(cell, tuple | list):
        items: Any = cell
    else:
        said = text(cell)
        if not said:
            return {}
        if not said.startswith("{"):
            said = "{" + said + "}"  # Azure leaves the braces out
        try:
            found = msgspec.json.decode(said)
        except (msgspec.DecodeError, RecursionError):
            return {}
        items = found.items() if isinstance(found, dict) else ()
    try:
        return {str(key): text(value) for key, value in items}
    except (TypeError, ValueError):
        return {}


def nano_of(usd: Decimal) -> int:
    """USD as nano-USD, rounded half to even once, however many digits there are."""
    return int(EXACT.multiply(usd, Decimal(NANO_PER_USD)).to_integral_value(ROUND_HALF_EVEN))
