"""Amounts of a price file, in the integers that rates are made of."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from costmeter.pricing.nodes import Entry


def amounts(entry: Entry, names: tuple[str, ...], pieces: int) -> dict[str, int]:
    found = entry.fields(names)
    if not found:
        entry.refuse(f"names no class; write for example {names[0]}: 2.50")
    return {name: nano_of(amount, pieces) for name, amount in found.items()}


def nano_of(amount: Entry, pieces: int) -> int:
    """USD per million (`pieces` = 1) or per unit (10**6) as nano-USD per million units."""
    usd: Decimal = amount.number()
    exact = Fraction(usd) * 10**9 * pieces
    if exact.denominator != 1:
        amount.refuse(
            f"{usd} has more decimals than a nano-dollar; write at most "
            f"{9 if pieces == 1 else 15} of them"
        )
    return int(exact)
