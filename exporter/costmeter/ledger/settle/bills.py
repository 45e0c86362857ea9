"""Lines of bills: stored once each, with every state that they were in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from sqlite3 import Connection
from typing import NamedTuple

import msgspec

from costmeter.attribution import Scope, scope_of
from costmeter.ledger.metered import Moment
from costmeter.model import CHARGES, MATURITIES, BillLine, Labels

#: What became of a line.
NEW, SAME, RESTATED, CONVERTED, OLDER = "new", "same", "restated", "converted", "older"

_STATE = "maturity, amount, currency, fx_rate, fx_day, usd_nano, labels, charge"
_COLUMNS = f"scope, day, line, rev, basis, {_STATE}"
_encode = msgspec.json.Encoder().encode
#: No line is worth more, so that sums of lines stay far from the end of int64.
_MOST_NANO = 1 << 60
#: Days since 1970, up to the year 2200.
_LAST_DAY = 84_000


class Taken(NamedTuple):
    """What became of a line, and which scopes' days have to be settled for it.

    `change` is the difference in nano-USD that a restatement made, None where one of its
    amounts is not known in USD.
    """

    outcome: str
    scope: str
    touched: tuple[str, ...] = ()
    change: int | None = 0


def take_line(
    connection: Connection, scopes: Sequence[Scope], source: str, line: BillLine, moment: Moment
) -> Taken:
    """Store one line. The same state again stores nothing, whatever revision it bears.

    The labels decide the scope. A line whose labels did not change keeps the scope that it
    has, even if the configuration says another one by now. Raises ValueError for a line
    that cannot be kept.
    """
    _check(line)
    key = (source, line.day, line.basis, line.line)
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM bill WHERE source = ? AND day = ? AND basis = ? AND line = ? "
        "ORDER BY rev DESC LIMIT 1",
        key,
    ).fetchone()
    if row is None:
        scope = scope_of(scopes, line.labels).name
        _insert(connection, source, line, scope, moment)
        return Taken(NEW, scope, (scope,))
    old = line_of(row)
    if line.revision < old.revision:
        return Taken(OLDER, old.scope)
    same = line.labels == old.labels
    scope = old.scope if same else scope_of(scopes, line.labels).name
    new = _stated(line, scope, line.revision)
    if new == _stated(old, old.scope, line.revision):
        if line.revision > old.revision:
            connection.execute(
                "UPDATE bill SET rev = ? WHERE source = ? AND day = ? AND basis = ? "
                "AND line = ? AND rev = ?",
                (line.revision, *key, old.revision),
            )
        return Taken(SAME, scope)
    if line.revision == old.revision:
        # A revision stands as it came; only its rate of exchange may be found later.
        if old.usd_nano is not None or line.usd_nano is None or line.amount != old.amount:
            return Taken(SAME, old.scope)
        connection.execute(
            "UPDATE bill SET usd_nano = ?, fx_rate = ?, fx_day = ?, known_ms = ?, booked = ? "
            "WHERE source = ? AND day = ? AND basis = ? AND line = ? AND rev = ?",
            (line.usd_nano, line.fx_rate, line.fx_day, *moment, *key, line.revision),
        )
        return Taken(CONVERTED, old.scope, (old.scope,))
    _insert(connection, source, line, scope, moment)
    unknown = line.usd_nano is None or old.usd_nano is None
    change = None if unknown else (line.usd_nano or 0) - (old.usd_nano or 0)
    touched = (scope,) if scope == old.scope else (old.scope, scope)
    return Taken(RESTATED, scope, touched, change)


def current_lines(connection: Connection, scope: Scope, day: int) -> list[BillLine]:
    """The newest state of each line that is the amount of a scope's day."""
    return newest_lines(connection, scope.name, day, scope.amount_from, scope.basis)


def newest_lines(
    connection: Connection, scope: str, day: int, source: str, basis: str
) -> list[BillLine]:
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM bill AS b WHERE scope = ? AND day = ? AND source = ? "
        "AND basis = ? AND rev = (SELECT max(rev) FROM bill WHERE source = b.source "
        "AND day = b.day AND basis = b.basis AND line = b.line) ORDER BY line",
        (scope, day, source, basis),
    )
    return [line_of(row) for row in rows]


def unconverted_lines(
    connection: Connection, currencies: Sequence[str]
) -> Iterator[tuple[str, BillLine]]:
    """(source, line) of every line of these currencies that has no amount in USD."""
    marks = ", ".join("?" * len(currencies))
    rows = connection.execute(
        f"SELECT source, {_COLUMNS} FROM bill AS b WHERE usd_nano IS NULL "
        f"AND currency IN ({marks}) AND rev = (SELECT max(rev) FROM bill WHERE source = b.source "
        "AND day = b.day AND basis = b.basis AND line = b.line) ORDER BY day DESC",
        tuple(currencies),
    )
    for source, *row in rows:
        yield source, line_of(row)


def line_of(row: Sequence[object]) -> BillLine:
    """A line from its stored `_COLUMNS`."""
    fields: Mapping[str, object] = dict(
        zip(("scope", "day", "line", "revision", "basis", *_STATE.split(", ")), row, strict=True)
    )
    labels = Labels(*msgspec.json.decode(str(fields["labels"])))
    return msgspec.convert({**fields, "labels": labels}, BillLine)


def _insert(
    connection: Connection, source: str, line: BillLine, scope: str, moment: Moment
) -> None:
    connection.execute(
        "INSERT INTO bill (source, day, basis, line, rev, scope, charge, maturity, amount, "
        "currency, fx_rate, fx_day, usd_nano, labels, known_ms, booked) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            source, line.day, line.basis, line.line, line.revision, scope, line.charge,
            line.maturity, line.amount, line.currency, line.fx_rate, line.fx_day,
            line.usd_nano, _encode(line.labels).decode(), *moment,
        ),
    )  # fmt: skip


def _check(line: BillLine) -> None:
    for name, value, known in (
        ("charge", line.charge, CHARGES),
        ("maturity", line.maturity, MATURITIES),
    ):
        if value not in known:
            raise ValueError(
                f"line {line.line!r} has the {name} {value!r}; write one of {', '.join(known)}"
            )
    if not 0 <= line.day <= _LAST_DAY:
        raise ValueError(f"line {line.line!r} is of day {line.day}, which is no day since 1970")
    if line.usd_nano is not None and abs(line.usd_nano) > _MOST_NANO:
        raise ValueError(f"line {line.line!r} is over a billion USD; check its unit")


def _stated(line: BillLine, scope: str, revision: int) -> tuple[object, ...]:
    return (
        scope, revision, line.charge, line.maturity, line.amount, line.currency,
        line.fx_rate, line.fx_day, line.usd_nano, line.labels,
    )  # fmt: skip
