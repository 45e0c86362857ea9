"""Cost Explorer's groups as lines of a bill: what each is for, whose it is, how sure it is."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from costmeter.model import MS_PER_DAY, BillLine, Labels
from costmeter.sources.contract import SourceError
from costmeter.sources.reading import Row, amount, group, malformed, nano, plain, text

#: Which figure is a basis; the second where an answer lacks the first.
BASES: tuple[tuple[str, tuple[str, str]], ...] = (
    ("effective", ("NetAmortizedCost", "AmortizedCost")),
    ("billed", ("NetUnblendedCost", "UnblendedCost")),
)
METRICS = tuple(metric for _, metrics in BASES for metric in metrics)
#: Record types that are consumption. A negation takes back, on the billed basis, what a
#: savings plan has paid for: beside the usage that it belongs to, it makes that free.
USAGE_RECORDS = ("Usage", "DiscountedUsage", "SavingsPlanCoveredUsage", "SavingsPlanNegation")
#: By the record type's letters alone: the console and the API write them differently.
_CHARGES: Mapping[str, str] = {
    **{name.lower(): "usage" for name in USAGE_RECORDS},
    "reservationappliedusage": "usage",
    "tax": "tax",
    "support": "support",
    "supportfee": "support",
    "credit": "credit",
    "fee": "purchase",
    "rifee": "purchase",
    "upfront": "purchase",
    "recurring": "purchase",
    "recurringreservationfee": "purchase",
    "upfrontreservationfee": "purchase",
    "savingsplanrecurringfee": "purchase",
    "savingsplanupfrontfee": "purchase",
    "otheroutofcyclecharges": "purchase",
}
#: More groups than this in one report are no bill that somebody reads by day.
_MOST_LINES = 500_000


def charge_of(record_type: str, service: str) -> str:
    """What a record type is for; refunds, discounts and what is not known are adjustments."""
    letters = "".join(c for c in record_type.lower() if c.isalpha())
    charge = _CHARGES.get(letters, "adjustment")
    if charge in ("usage", "purchase") and service.lower().startswith("aws support"):
        return "support"
    return charge


class _Line(NamedTuple):
    labels: Labels
    charge: str
    amounts: Mapping[str, tuple[Decimal, str]]


class Bill:
    """Lines by day, each on both bases."""

    def __init__(self, now_ms: int, final_after_days: int) -> None:
        self._now_ms = now_ms
        self._final_after_days = final_after_days
        self._found: dict[int, dict[str, _Line]] = {}
        self._count = 0
        self._estimated: dict[int, bool] = {}

    def day(self, day: int, *, estimated: bool) -> None:
        """What the report says of a day; several pages may speak of it."""
        self._estimated[day] = estimated or self._estimated.get(day, False)

    def add(self, day: int, name: str, labels: Labels, charge: str, metrics: Row) -> None:
        """A group's figures. A group is there once: a second time is a page come again."""
        found = self._found.setdefault(day, {})
        if name in found:
            raise SourceError("repeated_page", "a group came twice")
        if self._count >= _MOST_LINES:
            raise SourceError(
                "too_large", f"more than {_MOST_LINES} groups; group by something coarser"
            )
        amounts = {basis: _figure(metrics, names) for basis, names in BASES}
        nothing = all(not money for money, _ in amounts.values())
        # Most free groups are noise; those that a meter may speak of say that it was free.
        if nothing and labels.category not in ("llm_api", "gpu_compute"):
            return
        found[name] = _Line(labels, charge, amounts)
        self._count += 1

    def closed(self, day: int) -> bool:
        """Whether the month of a day is invoiced, so that it does not change any more."""
        return self._estimated.get(day) is False and self._ended(day) >= self._final_after_days

    def lines(self, day: int) -> tuple[BillLine, ...]:
        return tuple(
            BillLine(
                scope="",
                day=day,
                # A line has one currency: another one is another line.
                line=name if currency == "USD" else f"{name} | {currency}",
                revision=0,
                amount=plain(money),
                currency=currency,
                usd_nano=nano(money) if currency == "USD" else None,
                labels=line.labels,
                maturity=self._maturity(day),
                basis=basis,
                fx_day=day,
                charge=line.charge,
            )
            for name, line in self._found.get(day, {}).items()
            for basis, (money, currency) in line.amounts.items()
        )

    def _maturity(self, day: int) -> str:
        if self._ended(day) < 0:
            return "estimated"
        if not self._estimated.get(day, True) or self._ended(day) >= self._final_after_days:
            return "final"
        return "provisional"

    def _ended(self, day: int) -> int:
        """Whole days since the day's end."""
        return (self._now_ms - (day + 1) * MS_PER_DAY) // MS_PER_DAY


def _figure(metrics: Row, names: tuple[str, str]) -> tuple[Decimal, str]:
    for name in names:
        said = group(metrics, name)
        if said.get("Amount") is None:
            continue
        money = amount(said["Amount"], f"{name}.Amount")
        currency = text(said, "Unit").upper()
        if len(currency) == 3 and currency.isalpha():
            return money, currency
        if money:
            raise malformed(f"{name}.Unit", "expected three letters")
        return money, "USD"  # nothing, in a unit that AWS writes as N/A
    raise malformed("Metrics", f"has neither {names[0]} nor {names[1]}")
