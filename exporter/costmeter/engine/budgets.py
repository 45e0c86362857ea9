"""Budgets as a library: made, changed, asked and answered through the one writer.

An API or a command calls these; nothing here knows of HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from sqlite3 import Connection
from typing import NamedTuple

from costmeter.analysis.budgets import BudgetStatus
from costmeter.engine.budget_watch import BudgetWatch
from costmeter.ledger import budget_alerts, budget_reads
from costmeter.ledger.budget_periods import periods_of
from costmeter.ledger.budget_rules import check
from costmeter.ledger.budget_store import BudgetError, BudgetStore
from costmeter.ledger.upkeep import moment_of
from costmeter.ledger.writer import Writer
from costmeter.model import Budget
from costmeter.pricing.exchange import Exchange

#: So many budgets are made in one transaction; ingest goes on between two of them.
_AT_ONCE = 5_000


class Past(NamedTuple):
    """A period that has ended: what was spent in it, and the limit that held at its end."""

    start_ms: int
    end_ms: int
    spent: int
    limit_nano: int


def create(writer: Writer, budgets: Sequence[Budget]) -> None:
    """Make budgets. Raises BudgetError, and then those of its part were not made."""
    booking = writer.booking
    for budget in budgets:
        check(budget, booking.cell_ms, booking.time.now_ms())
    for start in range(0, len(budgets), _AT_ONCE):
        _write(writer, partial(_create, writer, budgets[start : start + _AT_ONCE]))


def change(writer: Writer, budget: Budget) -> None:
    """Give a budget another definition; what was spent in its period counts on.

    Raises BudgetError for one that is not there, or is the configuration's.
    """
    booking = writer.booking
    check(budget, booking.cell_ms, booking.time.now_ms())
    _write(writer, lambda store: store.change(budget, moment_of(booking)))


def remove(writer: Writer, name: str) -> None:
    """Watch a budget no more; its past and its alerts stay. Raises BudgetError."""
    _write(writer, lambda store: store.remove(name, moment_of(writer.booking)))


def status(
    connection: Connection, name: str, now_ms: int, exchange: Exchange | None = None
) -> BudgetStatus:
    """Where a budget stands, with intervals. Raises BudgetError where it has none now."""
    found = statuses(connection, now_ms, exchange, names=[name])
    if found:
        return found[0]
    row = budget_reads.named(connection, name)
    if row is None or not row.active:
        raise BudgetError(f"there is no budget {name!r}; 'costmeter budget status' lists them")
    if periods_of(row.budget.cut).of(now_ms) is None:
        raise BudgetError(f"budget {name!r} has no period now; its dates are over, or to come")
    raise BudgetError(f"budget {name!r}: there is no rate for {row.budget.currency} today")


def statuses(
    connection: Connection,
    now_ms: int,
    exchange: Exchange | None = None,
    *,
    names: Sequence[str] | None = None,
) -> list[BudgetStatus]:
    """Where budgets stand, with intervals, in their order; those without a period are left out."""
    rates = exchange or Exchange()
    watch = BudgetWatch(connection, lambda: rates, only=names)
    watch.refresh(now_ms)
    if names is None:
        numbers = budget_reads.first_by_position(connection)
    else:
        numbers = [number for number in map(watch.number_of, names) if number is not None]
    return watch.statuses(numbers, days=True)


def exhaustion(
    connection: Connection, name: str, now_ms: int, exchange: Exchange | None = None
) -> tuple[int | None, int | None, int | None]:
    """(when it is used up, earliest, latest) in ms; None beyond the period. BudgetError."""
    found = status(connection, name, now_ms, exchange)
    return found.exhaustion_ms, found.exhaustion_low_ms, found.exhaustion_high_ms


def history(connection: Connection, name: str, now_ms: int, count: int = 24) -> list[Past]:
    """The latest periods with spend that have ended, newest first. Raises BudgetError."""
    row = budget_reads.named(connection, name)
    if row is None:
        raise BudgetError(f"there is no budget {name!r}")
    periods = periods_of(row.budget.cut)
    revisions = budget_reads.limits(connection, name)
    found = []
    for start, net in budget_reads.periods_before(connection, row.number, now_ms, count + 1):
        bounds = periods.of(start)
        if bounds is None or bounds[1] > now_ms:
            continue
        held = [budget for since, budget, _ in revisions if since < bounds[1]]
        limit = (held or [row.budget])[-1].limit_nano
        found.append(Past(start, bounds[1], net, limit))
    return found[:count]


def acknowledge(writer: Writer, alert: int, who: str, note: str = "") -> None:
    """Note that somebody has seen an alert. Raises ValueError."""
    booking = writer.booking
    writer.run(
        lambda: budget_alerts.acknowledge(
            booking.connection, alert, who, note, booking.time.now_ms()
        )
    ).result()


def count(writer: Writer, numbers: Sequence[int]) -> None:
    """Give budgets that are exported for the first time their counters."""
    _write(writer, lambda store: store.count(numbers, moment_of(writer.booking)))


def _create(writer: Writer, budgets: Sequence[Budget], store: BudgetStore) -> None:
    store.create(budgets, moment_of(writer.booking))


def _write(writer: Writer, work: Callable[[BudgetStore], None]) -> None:
    booking = writer.booking

    def run() -> None:
        booking.write_totals()
        work(BudgetStore(booking.connection, booking.budgets))
        booking.counters.reread()

    writer.run(run).result()
