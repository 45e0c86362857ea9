"""What few budgets have beside their spend: plans, one-time charges, a forecast."""

from __future__ import annotations

from sqlite3 import Connection

from costmeter.analysis.budgets import RATE_WINDOW_MS, Expected, Plans, plans
from costmeter.analysis.budgets.board import Board
from costmeter.ledger import budget_reads as reads
from costmeter.ledger.budget_periods import due_between
from costmeter.ledger.budgets import shape_of
from costmeter.model import MS_PER_DAY, Budget, Labels
from costmeter.pricing.exchange import USD, Exchange

#: No plan takes longer; what began before is over.
_LONGEST_PLAN_MS = 31 * MS_PER_DAY


def expected(connection: Connection, board: Board, now_ms: int) -> dict[int, Expected]:
    """Stored forecasts of the present periods, by the numbers of their budgets."""
    found: dict[int, Expected] = {}
    for name, one in dict(reads.forecasts(connection, now_ms)).items():
        row = reads.named(connection, name)
        watched = row is not None and board.has(row.number)
        if row is not None and watched and board.period(row.number)[1] == one.end_ms:
            found[row.number] = Expected(one.total_nano, one.low_nano, one.high_nano)
    return found


def one_time(connection: Connection, since_ms: int) -> dict[int, int]:
    """One-time charges since an instant, by the numbers of the budgets that they belong to."""
    once: dict[int, int] = {}
    shapes: dict[str, tuple[str, ...]] | None = None
    for at_ms, labels, nano in reads.one_time_charges(connection, since_ms):
        if at_ms < since_ms:
            continue
        if shapes is None:
            rows = connection.execute("SELECT DISTINCT shape FROM budget_key")
            shapes = {shape: tuple(shape.split("\x1f")) if shape else () for (shape,) in rows}
        for number in _covering(connection, labels, shapes):
            once[number] = once.get(number, 0) + nano
    return once


def planned(
    connection: Connection,
    exchange: Exchange,
    number: int,
    budget: Budget,
    period: tuple[int, int],
    now_ms: int,
) -> Plans:
    """What the budget's plans come to in its period, in USD of today."""
    since_ms = min(period[0], now_ms - RATE_WINDOW_MS) - _LONGEST_PLAN_MS
    dues = []
    for item in budget.planned:
        amount: int | None = item.amount_nano
        if budget.currency != USD:
            amount = exchange.nano(item.amount_nano, budget.currency, now_ms // MS_PER_DAY)
        if amount is not None:
            converted = item._replace(amount_nano=amount)
            dues += due_between(converted, budget.timezone, since_ms, period[1])
    return plans(
        dues,
        lambda since, until: reads.spent_between(connection, number, since, until),
        period,
        now_ms - RATE_WINDOW_MS,
        now_ms,
    )


def _covering(
    connection: Connection, labels: Labels, shapes: dict[str, tuple[str, ...]]
) -> list[int]:
    said, found = labels._asdict(), []
    for shape, names in shapes.items():
        if "user_id" in names:
            continue
        _, value = shape_of([(name, said[name]) for name in names])
        found += connection.execute(
            "SELECT number FROM budget_key WHERE shape = ? AND value = ?", (shape, value)
        ).fetchall()
    return [number for (number,) in found]
