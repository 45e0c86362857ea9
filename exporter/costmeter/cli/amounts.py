"""Amounts that people write on the command line: counts by class, shares, USD."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from costmeter.cli.errors import CommandError
from costmeter.model import NANO_PER_USD, TOKEN_CLASSES, UNIT_CLASSES

_COUNT = re.compile(r"\d{1,15}")


def quantities_of(tokens: str, units: str) -> dict[str, int]:
    """`input=1200,output=150` and `web_searches=2` as counts by class, zeros left out."""
    found = _counts(tokens, TOKEN_CLASSES, "--tokens", "class of tokens")
    found |= _counts(units, UNIT_CLASSES, "--units", "unit")
    kept = {name: count for name, count in found.items() if count}
    if not kept:
        raise CommandError("nothing is used; write --tokens input=1200,output=150")
    return kept


def count(text: str, flag: str, least: int = 0) -> int:
    plain = text.replace(",", "").replace("_", "")
    if not _COUNT.fullmatch(plain) or int(plain) < least:
        raise CommandError(f"{flag} {text!r} is no count; write a whole number from {least} up")
    return int(plain)


def amount(text: str, flag: str) -> Decimal:
    """A decimal number of 0 or more, exactly as written."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(-1)
    if not value.is_finite() or not 0 <= value <= 10**12:
        raise CommandError(f"{flag} {text!r} is no amount; write a number of 0 or more")
    return value


def share(text: str, flag: str) -> Fraction:
    value = Fraction(amount(text, flag))
    if value > 1:
        raise CommandError(f"{flag} {text!r} is no share; write a number from 0 to 1")
    return value


def nano(text: str, flag: str) -> int:
    """USD as nano-USD; at most nine decimals."""
    value = amount(text, flag) * NANO_PER_USD
    if value != value.to_integral_value():
        raise CommandError(f"{flag} {text!r} has more than nine decimals")
    return int(value)


def _counts(text: str, known: Iterable[str], flag: str, what: str) -> dict[str, int]:
    found: dict[str, int] = {}
    names = tuple(known)
    for pair in filter(None, text.split(",")):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals:
            raise CommandError(f"{flag} {pair!r} is no pair; write CLASS=COUNT")
        if name not in names:
            raise CommandError(f"there is no {what} {name!r}; write one of {', '.join(names)}")
        found[name] = found.get(name, 0) + count(value, flag)
    return found
