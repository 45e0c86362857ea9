"""What is asked about budgets: their definitions, their sums, what moved since a revision."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from sqlite3 import Connection
from typing import NamedTuple

import msgspec
from msgspec import Struct

from costmeter.ledger.budget_periods import periods_of
from costmeter.ledger.budgets import KEPT_REVISIONS
from costmeter.ledger.settle.plan import bearer
from costmeter.model import MS_PER_DAY, Budget, Cut, Labels

_decode = msgspec.json.Decoder(Budget).decode
_COLUMNS = "number, budget_now.active, budget_now.position, definition"
_FROM = "FROM budget_now JOIN budget USING (name, rev)"
#: A forecast that is older than this is not used.
_FORECAST_AGE_MS = 36 * 3_600_000
#: Of an hourly budget that is forty days; more than that is not looked back for what is left.
_MOST_PERIODS = 1_000


class Row(NamedTuple):
    number: int
    active: bool
    position: int
    budget: Budget


class Outline(msgspec.Struct):
    """What of a definition its standing goes by in most cases."""

    limit_nano: int
    warning_permille: int = 800
    critical_permille: int = 950
    currency: str = "USD"
    rollover: bool = False
    planned: list[msgspec.Raw] = []


class Stored(Struct, frozen=True):
    """A forecast of a period's whole spend as somebody stored it (document, forecast)."""

    end_ms: int
    total_nano: int
    low_nano: int
    high_nano: int


_decode_outline = msgspec.json.Decoder(Outline).decode


def revision(connection: Connection) -> int:
    """Of the newest committed state."""
    return int(connection.execute("SELECT v FROM meta WHERE k = 'revision'").fetchone()[0])


def cell_width(connection: Connection) -> int:
    return int(connection.execute("SELECT v FROM meta WHERE k = 'cell_ms'").fetchone()[0])


def follows(now: int, last: int) -> bool:
    """Whether what moved after revision `last` can still be read."""
    return 0 <= now - last < KEPT_REVISIONS // 2


def outlines(
    connection: Connection,
) -> Iterator[tuple[int, Cut, Outline, Budget | None, int | None]]:
    """(number, cut, outline, definition, first hour with spend) of every active budget.

    The definition is read only where the outline does not say all: a million take their time.
    """
    cuts: dict[str, Cut] = {}
    for number, text, definition, first in connection.execute(
        "SELECT number, cut, definition, "
        "(SELECT min(hour) FROM budget_net WHERE budget_net.number = budget_now.number) "
        f"{_FROM} WHERE budget_now.active"
    ):
        outline = _decode_outline(definition)
        cut = cuts.get(text)
        if cut is None:
            # An older ledger's budgets have none until they are filled.
            cut = msgspec.json.decode(text, type=Cut) if text else _decode(definition).cut
            if text:
                cuts[text] = cut
        special = outline.rollover or outline.planned or outline.currency != "USD"
        yield number, cut, outline, _decode(definition) if special else None, first


def redefined(connection: Connection, since: int) -> list[Row]:
    """Budgets that came, went or changed after a revision."""
    return [
        Row(row[0], bool(row[1]), row[2], _decode(row[3]))
        for row in connection.execute(f"SELECT {_COLUMNS} {_FROM} WHERE changed > ?", (since,))
    ]


def named(connection: Connection, name: str) -> Row | None:
    """A budget by its name, also one that is watched no more."""
    row = connection.execute(f"SELECT {_COLUMNS} {_FROM} WHERE name = ?", (name,)).fetchone()
    return None if row is None else Row(row[0], bool(row[1]), row[2], _decode(row[3]))


def numbered(connection: Connection, numbers: Iterable[int]) -> dict[int, Budget]:
    found = {}
    for number in numbers:
        row = connection.execute(f"SELECT definition {_FROM} WHERE number = ?", (number,))
        found[number] = _decode(row.fetchone()[0])
    return found


def first_by_position(connection: Connection, count: int = -1) -> list[int]:
    """Numbers of active budgets in their order; the first so many, or all."""
    return [
        number
        for (number,) in connection.execute(
            "SELECT number FROM budget_now WHERE active ORDER BY position LIMIT ?", (count,)
        )
    ]


def moved(connection: Connection, since: int, until: int) -> Iterable[tuple[int, int, int]]:
    """(number, hour, net) as booked in the revisions (since, until]."""
    return connection.execute(
        "SELECT number, hour, net FROM budget_change WHERE rev > ? AND rev <= ?", (since, until)
    )


def hours_between(
    connection: Connection, since_ms: int, until_ms: int
) -> Iterable[tuple[int, int]]:
    """(number, net) of the hours in [since, until)."""
    return connection.execute(
        "SELECT number, net FROM budget_net WHERE hour >= ? AND hour < ?", (since_ms, until_ms)
    )


def recent_hours(connection: Connection, since_ms: int) -> Iterable[tuple[int, int]]:
    """(number, net) of each hour since an instant."""
    return connection.execute(
        "SELECT number, net FROM budget_net INDEXED BY budget_net_hour WHERE hour >= ?",
        (since_ms,),
    )


def spent_since(connection: Connection, start_ms: int) -> Iterable[tuple[int, int, int]]:
    """(number, start, net) of the periods that begin at or after an instant."""
    return connection.execute(
        "SELECT number, start, net FROM budget_period WHERE start >= ?", (start_ms,)
    )


def spent_in_period(connection: Connection, number: int, start_ms: int) -> int:
    row = connection.execute(
        "SELECT net FROM budget_period WHERE number = ? AND start = ?", (number, start_ms)
    ).fetchone()
    return 0 if row is None else int(row[0])


def spent_between(connection: Connection, number: int, since_ms: int, until_ms: int) -> int:
    """Net spend of the hours that begin in [since, until)."""
    row = connection.execute(
        "SELECT coalesce(sum(net), 0) FROM budget_net WHERE number = ? AND hour >= ? AND hour < ?",
        (number, since_ms, until_ms),
    ).fetchone()
    return int(row[0])


def first_hour(connection: Connection, number: int) -> int | None:
    row = connection.execute(
        "SELECT min(hour) FROM budget_net WHERE number = ?", (number,)
    ).fetchone()
    return None if row[0] is None else int(row[0])


def periods_before(
    connection: Connection, number: int, until_ms: int, count: int
) -> list[tuple[int, int]]:
    """(start, net) of the latest periods with spend that began before an instant, newest first."""
    return connection.execute(
        "SELECT start, net FROM budget_period WHERE number = ? AND start < ? "
        "ORDER BY start DESC LIMIT ?",
        (number, until_ms, count),
    ).fetchall()


def limits(connection: Connection, name: str) -> list[tuple[int, Budget, bool]]:
    """(since, definition, active) of every revision of a budget, oldest first."""
    return [
        (since, _decode(definition), bool(on))
        for since, definition, on in connection.execute(
            "SELECT since_ms, definition, active FROM budget WHERE name = ? ORDER BY rev", (name,)
        )
    ]


def carried(connection: Connection, number: int, budget: Budget, start_ms: int) -> int:
    """What periods before `start_ms` left over for the one that begins there.

    A period leaves its limit, with what was carried into it, less its spend; at least
    nothing, at most the cap. Each counts by the limit that was in force when it ended; the
    first is the one in which the budget was made. In the budget's own currency it would
    depend on a rate, so budgets in another currency carry nothing.
    """
    revisions = limits(connection, budget.name)
    periods = periods_of(budget.cut)
    found = periods.of(revisions[0][0]) if revisions else None
    amount = 0
    for _ in range(_MOST_PERIODS):
        if found is None or found[0] >= start_ms:
            return amount
        start, end = found
        said = next((b for since, b, _ in reversed(revisions) if since < end), budget)
        cap = said.limit_nano if said.rollover_nano is None else said.rollover_nano
        left = said.limit_nano + amount - spent_in_period(connection, number, start)
        amount = min(max(left, 0), cap) if said.rollover else 0
        found = periods.of(end)
    return amount


def forecasts(connection: Connection, now_ms: int) -> Iterator[tuple[str, Stored]]:
    """(budget's name, newest forecast) of those stored lately under the id budget:<name>."""
    for identity, body, _ in connection.execute(
        "SELECT id, body, max(rev) FROM document WHERE org = 0 AND kind = 'forecast' "
        "AND id >= 'budget:' AND id < 'budget;' AND at_ms >= ? GROUP BY id",
        (now_ms - _FORECAST_AGE_MS,),
    ):
        # Written by other hands: one that cannot be read is none.
        with suppress(msgspec.MsgspecError):
            yield identity.removeprefix("budget:"), msgspec.json.decode(body, type=Stored)


def one_time_charges(connection: Connection, since_ms: int) -> Iterator[tuple[int, Labels, int]]:
    """(instant, bearer, nano) of lines of bills that are no usage, where the bill counts."""
    day = since_ms // MS_PER_DAY
    for line_day, labels, nano in connection.execute(
        "SELECT bill.day, bill.labels, bill.usd_nano FROM bill JOIN ("
        "SELECT source, day, basis, line, max(rev) AS rev FROM bill WHERE day >= ? "
        "GROUP BY source, day, basis, line) USING (source, day, basis, line, rev) "
        "JOIN (SELECT scope, day, source, basis, status, max(rev) FROM settlement "
        "WHERE day >= ? GROUP BY scope, day) AS settled ON settled.scope = bill.scope "
        "AND settled.day = bill.day AND settled.source = bill.source "
        "AND settled.basis = bill.basis "
        "WHERE bill.charge != 'usage' AND bill.usd_nano IS NOT NULL "
        "AND settled.status != 'metered'",
        (day, day),
    ).fetchall():
        yield line_day * MS_PER_DAY, bearer(msgspec.json.decode(labels, type=Labels)), nano
