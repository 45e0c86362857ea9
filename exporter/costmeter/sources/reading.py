"""Values of a provider's JSON, exactly as they were written: no float is ever in between.

Every function raises SourceError("malformed") and names the field, never a whole body.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from costmeter.model import NANO_PER_USD
from costmeter.sources.contract import SourceError

Row = Mapping[str, Any]

#: A whole company's tokens of a day stay far below; int64 sums keep their room.
_MOST_COUNT = 10**15
_MOST_AMOUNT = Decimal(10**9)
_CENTS = Decimal(100)


def malformed(where: str, what: str) -> SourceError:
    return SourceError("malformed", f"{where}: {what}")


def parse(body: bytes) -> Row:
    """A JSON object; numbers with a point become Decimal."""
    try:
        value = json.loads(body, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        at = getattr(error, "pos", None)
        cut = " (it looks cut off)" if at is not None and at >= len(body.rstrip()) - 1 else ""
        raise malformed("the answer", f"no readable JSON{cut}, {len(body)} bytes") from None
    if not isinstance(value, dict):
        raise malformed("the answer", "no JSON object")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(name)


def rows(row: Row, *names: str) -> Sequence[Row]:
    """The list under the first of the names that is there; null is an empty one."""
    for name in names:
        if name in row:
            found = row[name]
            if found is None:
                return ()
            if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
                raise malformed(name, "expected a list of objects")
            return found
    raise malformed(names[0], "missing")


def group(row: Row, name: str) -> Row:
    """The object under a name; absent and null are an empty one."""
    found = row.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise malformed(name, "expected an object")
    return found


def text(row: Row, name: str) -> str:
    """The text under a name; absent and null are the empty one."""
    found = row.get(name)
    if found is None:
        return ""
    if isinstance(found, bool | dict | list):
        raise malformed(name, "expected a text")
    return clean(str(found))


def clean(value: str) -> str:
    """As a label may hold it: on one line, without control characters, at most 200."""
    return "".join(c if c.isprintable() else " " for c in value).strip()[:200]


def count(row: Row, name: str) -> int:
    """A whole number, 0 or more; absent and null are 0. `12.0` and "12" are 12."""
    found = row.get(name)
    if found is None:
        return 0
    number = _number(found, name)
    if number != number.to_integral_value() or not 0 <= number <= _MOST_COUNT:
        raise malformed(name, "expected a whole number, 0 or more")
    return int(number)


def amount(value: Any, name: str) -> Decimal:
    """An amount of money, negative for a credit; a number or a text."""
    number = _number(value, name)
    if abs(number) > _MOST_AMOUNT:
        raise malformed(name, "an amount beyond all reason")
    return number


def cents(value: Any, name: str) -> Decimal:
    """An amount that is written in hundredths of the currency, in the currency itself."""
    return amount(value, name) / _CENTS


def _number(value: Any, name: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise malformed(name, "expected a number")
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise malformed(name, "expected a number") from None
    if not number.is_finite() or number.as_tuple().exponent < -40:  # type: ignore[operator]
        raise malformed(name, "expected a number of sensible length")
    return number


def nano(usd: Decimal) -> int:
    """USD as nano-USD, rounded half to even once."""
    return round(usd * NANO_PER_USD)


def plain(value: Decimal) -> str:
    """Decimal text without an exponent and without zeros at its end."""
    shown = f"{value:f}"
    if "." in shown:
        shown = shown.rstrip("0").rstrip(".")
    return "0" if shown in ("-0", "") else shown


def seconds_ms(row: Row, name: str) -> int:
    """An instant in Unix seconds, as milliseconds."""
    if row.get(name) is None:
        raise malformed(name, "missing")
    return count(row, name) * 1000


def instant_ms(row: Row, name: str) -> int:
    """An instant in RFC 3339, or a date, as milliseconds; without a zone it is UTC."""
    said = row.get(name)
    try:
        found = datetime.fromisoformat(said)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise malformed(name, "expected an instant in RFC 3339") from None
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    return int(found.timestamp()) * 1000


def rfc3339(instant: int) -> str:
    return datetime.fromtimestamp(instant / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def date_of(instant: int) -> str:
    return rfc3339(instant)[:10]
