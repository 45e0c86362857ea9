"""Questions to the journal: what was spent, by what, and what was believed on a day."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from sqlite3 import Connection
from typing import NamedTuple

import msgspec

from costmeter.model import MS_PER_DAY, UNATTRIBUTED, Labels

#: What spend can be grouped by: any attribute of usage, its day, or what booked it.
DIMENSIONS: tuple[str, ...] = (*Labels._fields, "scope", "kind", "day")


#: Kinds of cells that hold metered usage at the prices of the meter.
METERED_KINDS = ("usage", "unpriced", "reprice", "correct")


class Spend(NamedTuple):
    """One group of spend. `net = up - down`, all in nano-USD."""

    group: tuple[str, ...]
    requests: int
    up: int
    down: int

    @property
    def net(self) -> int:
        return self.up - self.down


def spend(
    connection: Connection,
    by: Sequence[str],
    *,
    since_ms: int = 0,
    until_ms: int = 1 << 62,
    booked_until: int | None = None,
    where: Sequence[tuple[str, str]] = (),
) -> list[Spend]:
    """Spend by usage time in [since_ms, until_ms), largest first.

    `booked_until` (a UTC day number) answers with what was booked up to that day's end:
    the same question about the past always has the same answer. Raises ValueError for a
    dimension that is not in `DIMENSIONS`.
    """
    conditions, values = _conditions(by, since_ms, until_ms, where)
    if booked_until is not None:
        conditions.append("cell.booked <= ?")
        values.append(booked_until)
    columns = [_column(name) for name in by]
    group = f" GROUP BY {', '.join(columns)}" if columns else ""
    rows = connection.execute(
        f"SELECT {', '.join([*columns, 'sum(requests), sum(up), sum(down)'])} "
        f"FROM cell JOIN dim USING (dim) WHERE {' AND '.join(conditions)}{group}",
        values,
    )
    found = [
        Spend(tuple(str(value) for value in row[: len(by)]), *(int(n or 0) for n in row[len(by) :]))
        for row in rows
    ]
    return sorted(found, key=lambda item: (-item.net, item.group))


def amounts(
    connection: Connection,
    column: str,
    by: Sequence[str],
    *,
    since_ms: int = 0,
    until_ms: int = 1 << 62,
    where: Sequence[tuple[str, str]] = (),
) -> dict[tuple[str, ...], int]:
    """Sums by group and class of `quantities` (pieces) or `nanos` (nano-USD, net) of cells.

    The class is the last part of the key. Raises ValueError as `spend` does.
    """
    if column not in ("quantities", "nanos"):
        raise ValueError(f"cells have no {column!r} by class")
    conditions, values = _conditions(by, since_ms, until_ms, where)
    columns = [*(_column(name) for name in by), "j.key"]
    return {
        tuple(str(value) for value in row[:-1]): int(row[-1])
        for row in connection.execute(
            f"SELECT {', '.join(columns)}, sum(j.value) FROM cell JOIN dim USING (dim) "
            f"CROSS JOIN json_each(cell.{column}) AS j "
            f"WHERE {' AND '.join(conditions)} GROUP BY {', '.join(columns)}",
            values,
        )
    }


def _conditions(
    by: Sequence[str], since_ms: int, until_ms: int, where: Sequence[tuple[str, str]]
) -> tuple[list[str], list[object]]:
    unknown = [name for name in [*by, *(name for name, _ in where)] if name not in DIMENSIONS]
    if unknown:
        raise ValueError(f"unknown dimension {unknown[0]!r}; choose from {', '.join(DIMENSIONS)}")
    conditions = ["cell.hour >= ?", "cell.hour < ?"]
    conditions += [f"{_column(name)} = ?" for name, _ in where]
    return conditions, [since_ms, until_ms, *(value for _, value in where)]


class Bases(NamedTuple):
    """One group on each basis of cost, in nano-USD, by the names that FOCUS gives them.

    `list` and `contracted` are what was metered, at list prices and at a contract's.
    `effective` is that after settlement and commitments, with all charges beside usage.
    `billed` is what bills ask for; None where no bill says it.
    """

    group: tuple[str, ...]
    requests: int
    list: int
    contracted: int
    effective: int
    billed: int | None


def bases(
    connection: Connection,
    by: Sequence[str],
    *,
    since_ms: int = 0,
    until_ms: int = 1 << 62,
    where: Sequence[tuple[str, str]] = (),
) -> list[Bases]:
    """Spend by usage time in [since_ms, until_ms) on every basis, largest effective first.

    Lines of bills are of whole days (UTC): a day counts when it begins in that span. Raises
    ValueError for a dimension that is not in `DIMENSIONS`, and for `kind`: an amount on
    another basis was not booked.
    """
    asked = [*by, *(name for name, _ in where)]
    if "kind" in asked:
        raise ValueError("list and billed cost have no kind; ask for another dimension")
    span = {"since_ms": since_ms, "until_ms": until_ms, "where": where}
    found: dict[tuple[str, ...], list[int]] = {}
    billed: dict[tuple[str, ...], int] = {}
    for item in spend(connection, [*by, "kind"], **span):  # type: ignore[arg-type]
        sums = found.setdefault(item.group[:-1], [0, 0, 0, 0])
        sums[0] += item.requests
        sums[3] += item.net
        if item.group[-1] in METERED_KINDS:
            sums[1] += item.net
            sums[2] += item.net
    for group, nano in _saved(connection, by, since_ms, until_ms, where):
        found.setdefault(group, [0, 0, 0, 0])[1] += nano
    for group, nano in _billed(connection, by, since_ms, until_ms, where):
        found.setdefault(group, [0, 0, 0, 0])
        billed[group] = billed.get(group, 0) + nano
    rows = [
        Bases(group, requests, at_list, contracted, effective, billed.get(group))
        for group, (requests, at_list, contracted, effective) in found.items()
    ]
    return sorted(rows, key=lambda item: (-item.effective, item.group))


def _saved(
    connection: Connection,
    by: Sequence[str],
    since_ms: int,
    until_ms: int,
    where: Sequence[tuple[str, str]],
) -> Iterator[tuple[tuple[str, ...], int]]:
    columns = [_column(name, "saving") for name in by]
    conditions = ["saving.hour >= ?", "saving.hour < ?"]
    conditions += [f"{_column(name, 'saving')} = ?" for name, _ in where]
    group = f" GROUP BY {', '.join(columns)}" if columns else ""
    for row in connection.execute(
        f"SELECT {', '.join([*columns, 'sum(nano)'])} FROM saving JOIN dim USING (dim) "
        f"WHERE {' AND '.join(conditions)}{group}",
        [since_ms, until_ms, *(value for _, value in where)],
    ):
        yield tuple(str(value) for value in row[:-1]), int(row[-1] or 0)


#: The newest state of each line of a bill. Of sources that bill one day of a scope on one
#: basis, the one that settles it speaks, else the first by name.
_BILLED = (
    "SELECT scope, day, source, labels, usd_nano FROM bill AS b WHERE basis = 'billed' "
    "AND usd_nano IS NOT NULL AND day * 86400000 >= ? AND day * 86400000 < ? "
    "AND rev = (SELECT max(rev) FROM bill WHERE source = b.source "
    "AND day = b.day AND basis = b.basis AND line = b.line) ORDER BY scope, day, source"
)
_SETTLED_BY = "SELECT scope, day, source FROM settlement ORDER BY rev"


def _billed(
    connection: Connection,
    by: Sequence[str],
    since_ms: int,
    until_ms: int,
    where: Sequence[tuple[str, str]],
) -> Iterator[tuple[tuple[str, ...], int]]:
    settled = {(scope, day): source for scope, day, source in connection.execute(_SETTLED_BY)}
    rows = connection.execute(_BILLED, (since_ms, min(until_ms, 1 << 62))).fetchall()
    brought: dict[tuple[str, int], list[str]] = {}
    for scope, day, source, *_ in rows:
        brought.setdefault((scope, day), []).append(source)
    for scope, day, source, text, nano in rows:
        sources = brought[scope, day]
        speaks = settled.get((scope, day))
        if source != (speaks if speaks in sources else sources[0]):
            continue
        labels = Labels(*msgspec.json.decode(text))
        tenant = labels.tenant_id or UNATTRIBUTED
        date = datetime.fromtimestamp(day * MS_PER_DAY / 1000, UTC).date().isoformat()
        said = {**labels._asdict(), "tenant_id": tenant, "scope": scope, "day": date}
        if all(said[name] == value for name, value in where):
            yield tuple(said[name] for name in by), nano


def _column(name: str, table: str = "cell") -> str:
    if name == "day":
        return f"date({table}.hour / 1000, 'unixepoch')"
    return f"{table}.{name}" if name == "kind" else f"dim.{name}"


class Unpriced(NamedTuple):
    provider: str
    model: str
    requests: int


def unpriced(connection: Connection) -> list[Unpriced]:
    """Calls that have no price now, most first."""
    return [
        Unpriced(*row)
        for row in connection.execute(
            "SELECT provider, model, count(*) FROM unpriced JOIN dim USING (dim) "
            "GROUP BY provider, model ORDER BY count(*) DESC, provider, model"
        )
    ]


class BudgetSpend(NamedTuple):
    """Net nano-USD booked against a budget within two spans of time."""

    spent: int
    recent: int
    first_ms: int | None
    """The first hour in which anything was booked."""


def budget_spend(
    connection: Connection, budget: str, start_ms: int, end_ms: int, recent_since_ms: int
) -> BudgetSpend:
    """What a budget spent in [start_ms, end_ms), and in [recent_since_ms, end_ms)."""
    row = connection.execute(
        "SELECT coalesce(sum(net) FILTER (WHERE hour >= ?), 0), "
        "coalesce(sum(net) FILTER (WHERE hour >= ?), 0), min(hour) "
        "FROM budget_net WHERE number = (SELECT number FROM budget_now WHERE name = ?) "
        "AND hour < ?",
        (start_ms, recent_since_ms, budget, end_ms),
    ).fetchone()
    return BudgetSpend(int(row[0]), int(row[1]), row[2])
