"""`costmeter cost` and `costmeter ledger as-of`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from sqlite3 import Connection

from costmeter.cli.errors import CommandError
from costmeter.cli.settings import config_of, instant, usd, wall_ms
from costmeter.cli.table import Value, show
from costmeter.ledger.history import Bases, Spend, bases, spend, unpriced
from costmeter.ledger.store import open_for_reading
from costmeter.model import MS_PER_DAY

#: The bases of cost, as FOCUS calls them.
BASES = ("list", "contracted", "effective", "billed")
#: Models without a price that are named below a table.
_NAMED = 5


def cost(arguments: argparse.Namespace) -> int:
    """Spend by usage time."""
    since_ms, until_ms = span(arguments)
    where = [condition(text) for text in arguments.where]
    return _answer(arguments, since_ms=since_ms, until_ms=until_ms, where=where)


def span(arguments: argparse.Namespace) -> tuple[int, int]:
    """`--since` and `--until` in ms. CommandError when there is nothing between them."""
    now_ms = wall_ms()
    until_ms = instant(arguments.until, now_ms) if arguments.until else now_ms + MS_PER_DAY
    since_ms = instant(arguments.since, now_ms)
    if until_ms <= since_ms:
        raise CommandError(
            f"--until {arguments.until} is not after --since {arguments.since}; "
            "write an earlier --since, or a later --until"
        )
    return since_ms, until_ms


def as_of(arguments: argparse.Namespace) -> int:
    """Spend as it was believed at the end of a day; the answer never changes."""
    now_ms = wall_ms()
    booked = instant(arguments.date, now_ms) // MS_PER_DAY
    store = open_for_reading(config_of(arguments).ledger.path)
    try:
        closed = int(store.meta("release_clock")) // MS_PER_DAY
    finally:
        store.close()
    if booked >= closed:
        raise CommandError(
            f"{arguments.date} is still open in this ledger (days are UTC, and end with the "
            "first entry of the next one); ask for an earlier day, or use 'costmeter cost'"
        )
    since_ms = instant(arguments.since, now_ms) if arguments.since else 0
    return _answer(arguments, since_ms=since_ms, until_ms=1 << 62, booked_until=booked)


def _answer(
    arguments: argparse.Namespace,
    *,
    since_ms: int,
    until_ms: int,
    booked_until: int | None = None,
    where: Sequence[tuple[str, str]] = (),
) -> int:
    by = [dimension(name.strip()) for name in arguments.by.split(",") if name.strip()]
    basis = getattr(arguments, "basis", "")
    store = open_for_reading(config_of(arguments).ledger.path)
    # Spend is kept by the hour: a minute past it, "1h" is the hour before as well.
    since_ms -= since_ms % store.cell_ms
    try:
        columns, rows = (
            _on_bases(store.connection, by, basis, since_ms, until_ms, where, arguments.json)
            if basis
            else _booked(
                store.connection, by, since_ms, until_ms, booked_until, where, arguments.json
            )
        )
        # What was believed on a day in the past says nothing about the prices of now.
        waiting = (
            without_price(store.connection, since_ms, until_ms, where)
            if booked_until is None
            else []
        )
    except ValueError as error:
        raise CommandError(str(error)) from None
    finally:
        store.close()
    show(columns, rows, as_json=arguments.json)
    tell_unpriced(waiting)
    return 0


def tell_unpriced(waiting: Sequence[str]) -> None:
    """Say what the amounts leave out."""
    if waiting:
        named = ", ".join(waiting[:_NAMED])
        rest = f" and {len(waiting) - _NAMED} more" if len(waiting) > _NAMED else ""
        print(
            f"without a price, so not in these amounts (unpriced, not free): {named}{rest}",
            file=sys.stderr,
        )


def _booked(
    connection: Connection,
    by: Sequence[str],
    since_ms: int,
    until_ms: int,
    booked_until: int | None,
    where: Sequence[tuple[str, str]],
    as_json: bool,
) -> tuple[list[str], list[Sequence[Value]]]:
    """Columns and rows of what was booked, with a total where people read it."""
    found = spend(
        connection,
        by,
        since_ms=since_ms,
        until_ms=until_ms,
        booked_until=booked_until,
        where=where,
    )
    rows: list[Sequence[Value]] = [_row(item) for item in found]
    if by and not as_json:
        rows.append(_row(_total(found, len(by))))
    return [*by, "requests", "cost_usd", "credit_usd", "net_usd"], rows


def _on_bases(
    connection: Connection,
    by: Sequence[str],
    basis: str,
    since_ms: int,
    until_ms: int,
    where: Sequence[tuple[str, str]],
    as_json: bool,
) -> tuple[list[str], list[Sequence[Value]]]:
    """The same on one basis of cost, or on all of them beside each other."""
    asked = BASES if basis == "all" else (basis,)
    found = bases(connection, by, since_ms=since_ms, until_ms=until_ms, where=where)
    if by and not as_json:
        billed = [item.billed for item in found if item.billed is not None]
        sums = (
            sum(item.requests for item in found),
            sum(item.list for item in found),
            sum(item.contracted for item in found),
            sum(item.effective for item in found),
            sum(billed) if billed else None,
        )
        found.append(Bases(("total", *[" "] * (len(by) - 1)), *sums))
    rows: list[Sequence[Value]] = [
        [*item.group, item.requests, *(_usd(getattr(item, name)) for name in asked)]
        for item in found
    ]
    return [*by, "requests", *(f"{name}_usd" for name in asked)], rows


def _usd(nano: int | None) -> Value:
    return None if nano is None else usd(nano)


def without_price(
    connection: Connection, since_ms: int, until_ms: int, where: Sequence[tuple[str, str]]
) -> list[str]:
    """Models that came without a price in this span and have calls without one still."""
    came = spend(
        connection,
        ["provider", "model"],
        since_ms=since_ms,
        until_ms=until_ms,
        where=[*where, ("kind", "unpriced")],
    )
    groups = {item.group for item in came}
    return [
        f"{item.provider}/{item.model}"
        for item in unpriced(connection)
        if (item.provider, item.model) in groups
    ]


def _row(item: Spend) -> list[Value]:
    return [*item.group, item.requests, usd(item.up), usd(item.down), usd(item.net)]


def _total(found: Sequence[Spend], width: int) -> Spend:
    return Spend(
        ("total", *[" "] * (width - 1)),
        sum(item.requests for item in found),
        sum(item.up for item in found),
        sum(item.down for item in found),
    )


def condition(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise CommandError(f"--where {text!r} is no condition; write --where team=search")
    return dimension(name), value


def dimension(name: str) -> str:
    return "tenant_id" if name == "tenant" else name
