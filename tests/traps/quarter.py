"""A quarter of a platform with three incidents; nothing else in it is worth a page.

Ninety days from Monday, 3 August 2026: office hours, a shop with long evenings and dear weekends,
a batch every night, a service around the clock, a bill every morning, three months that end.
"""

from __future__ import annotations

from typing import NamedTuple

from costmeter.model import MS_PER_DAY, MS_PER_HOUR
from traps.happenings import Bill, Trap, budgets, office, tenant
from traps.ledgers import Span, between, local

QUARTER = between("2026-08-03T00:00", "2026-11-01T00:00")
_LEAKED = between("2026-08-26T03:00", "2026-08-26T07:00")
_MORE_EACH_DAY = between("2026-09-07T00:00", "2026-10-01T00:00")
_RUNAWAY = between("2026-10-13T14:00", "2026-10-14T10:00")


class Incident(NamedTuple):
    """`alerts` must fire in its time, the first of them within `found_ms` of its beginning.

    What follows from it are warnings of the same tenant, until its month has ended and rates of
    seven days have forgotten it.
    """

    what: str
    tenant_id: str
    span: Span
    found_ms: int
    alerts: frozenset[str]

    @property
    def echo(self) -> Span:
        first = local(self.span.to_ms - 1).replace(day=1, hour=0, minute=0, second=0)
        month = first.replace(month=first.month + 1)
        return Span(self.span.from_ms, round(month.timestamp()) * 1000 + 7 * MS_PER_DAY)


INCIDENTS = (
    Incident("a leaked key: 160 USD an hour at night", "shop", _LEAKED, 2 * MS_PER_HOUR,
             frozenset({"BudgetBurnFast", "CostSpike"})),
    Incident("a service that spends two thirds more for three weeks", "bolt", _MORE_EACH_DAY,
             10 * MS_PER_DAY,
             frozenset({"ForecastOverBudget", "BudgetWarning", "BudgetExceeded"})),
    Incident("a batch that does not end", "etl", _RUNAWAY, 4 * MS_PER_HOUR,
             frozenset({"BudgetBurnFast", "UnexpectedTenantCost"})),
)  # fmt: skip


def spend(at_ms: int) -> dict[str, float]:
    """USD an hour by tenant."""
    moment = local(at_ms)
    weekend = moment.weekday() >= 5
    evening = 17 <= moment.hour < 23
    found = {
        "acme": 20.0 if office(at_ms) else 3.0,
        "shop": (14.0 if evening else 5.0) * (1.3 if weekend else 1.0),
        "etl": 60.0 if moment.hour == 1 or at_ms in _RUNAWAY else 0.0,
        "bolt": 13.5 if at_ms in _MORE_EACH_DAY else 8.0,
    }
    if at_ms in _LEAKED:
        found["shop"] += 160.0
    return found


def _bill(day: int, now_ms: int) -> float | None:
    """120 USD a day and 15 more on Mondays, six to nine hours after the day's end."""
    appears_ms = (day + 1) * MS_PER_DAY + (6 + day % 4) * MS_PER_HOUR
    return 120.0 + 15.0 * (day % 7 == 4) if now_ms >= appears_ms else None


_BILL = Bill(_bill)

THE_QUARTER = Trap(
    "quarter", "three months and three incidents", spend,
    settings=budgets(
        tenant("acme", 9_500), tenant("acme", 1_900, "week"), tenant("shop", 7_500),
        tenant("etl", 3_200), tenant("bolt", 7_600), monthly_usd=34_000,
    ),
    start_ms=QUARTER.from_ms, end_ms=QUARTER.to_ms,
    # The nights and the afternoon in which minutes count.
    look=[between("2026-08-26T03:00", "2026-08-26T06:00"),
          between("2026-10-13T14:00", "2026-10-13T18:00")],
    fine=[between("2026-08-26T03:00", "2026-08-26T06:00"),
          between("2026-10-13T14:00", "2026-10-13T18:00")],
    prepare=_BILL.prepare, every_step=_BILL.step,
)  # fmt: skip
