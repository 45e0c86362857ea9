"""Rows of a report on their way to records: rows of one group are added up, exactly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Context, Decimal, Inexact, InvalidOperation

from costmeter.model import DEFAULT_TENANT, MS_PER_DAY, BillLine, Labels, Usage
from costmeter.sources.reading import malformed, nano, plain

#: Decimal's own 28 digits drop the tail of a sum; this drops none of an amount.
EXACT = Context(prec=130, traps=[InvalidOperation, Inexact])


class Counts:
    """Usage by bucket and group."""

    def __init__(self) -> None:
        self._found: dict[str, Usage] = {}

    def add(
        self,
        name: str,
        at_ms: int,
        labels: Labels,
        quantities: Mapping[str, int],
        *,
        processing: str = "standard",
        user_id: str = "",
        detail: Mapping[str, object] | None = None,
    ) -> None:
        """`quantities` may hold zeros; a row of zeros alone leaves no record."""
        kept = {key: value for key, value in quantities.items() if value}
        if not any(key != "requests" for key in kept):
            return
        old = self._found.get(name)
        if old is not None:
            both = {**old.quantities, **kept}
            kept = {k: old.quantities.get(k, 0) + kept.get(k, 0) for k in both}
            self._found[name] = old._replace(quantities=kept)
            return
        text = json.dumps({"aggregate": True, **(detail or {})}, sort_keys=True)
        self._found[name] = Usage(
            name, at_ms, "", labels, kept, processing=processing, user_id=user_id, detail=text
        )

    def take(self) -> tuple[Usage, ...]:
        found, self._found = tuple(self._found.values()), {}
        return found


@dataclass(frozen=True, slots=True)
class _Sum:
    amount: Decimal
    labels: Labels
    charge: str


class Charges:
    """Amounts by day, line and currency.

    A day is estimated while it lasts, provisional after it, and final once it ended
    `final_after_days` ago: then the provider is not expected to change it any more.
    """

    def __init__(self, now_ms: int, final_after_days: int, basis: str = "effective") -> None:
        self._now_ms = now_ms
        self._final_after_days = final_after_days
        self._basis = basis
        self._found: dict[tuple[int, str, str], _Sum] = {}

    def add(
        self,
        start_ms: int,
        line: str,
        labels: Labels,
        amount: Decimal,
        currency: str,
        charge: str = "",
    ) -> None:
        """`charge` is one of `CHARGES`; without it the line's sign says usage or credit."""
        if start_ms % MS_PER_DAY:
            raise malformed("the bucket", "does not begin a UTC day")
        if labels.tenant_id == DEFAULT_TENANT:
            # Usage that says no tenant is the default one's; a charge that says none is nobody's.
            labels = labels._replace(tenant_id="")
        # A line has one currency: another one is another line.
        currency = currency.upper()
        if len(currency) != 3 or not currency.isalpha():
            raise malformed("currency", "expected three letters")
        name = line if currency == "USD" else f"{line} | {currency}"
        key = (start_ms // MS_PER_DAY, name, currency)
        old = self._found.get(key)
        self._found[key] = (
            _Sum(amount, labels, charge)
            if old is None
            else replace(old, amount=EXACT.add(old.amount, amount))
        )

    def take(self) -> tuple[BillLine, ...]:
        lines = tuple(
            BillLine(
                scope="",
                day=day,
                line=name,
                revision=0,
                amount=plain(found.amount),
                currency=currency,
                usd_nano=nano(found.amount) if currency == "USD" else None,
                labels=found.labels,
                maturity=self._maturity(day),
                basis=self._basis,
                fx_day=day,
                charge=found.charge or ("usage" if found.amount >= 0 else "credit"),
            )
            for (day, name, currency), found in self._found.items()
        )
        self._found = {}
        return lines

    def _maturity(self, day: int) -> str:
        ended = (self._now_ms - (day + 1) * MS_PER_DAY) // MS_PER_DAY
        if ended < 0:
            return "estimated"
        return "final" if ended >= self._final_after_days else "provisional"
