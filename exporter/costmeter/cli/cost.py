"""`costmeter cost` and `costmeter ledger as-of`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from costmeter.cli.errors import CommandError
from costmeter.cli.settings import config_of, instant, usd, wall_ms
from costmeter.cli.table import Value, show
from costmeter.ledger.history import Spend, spend
from costmeter.ledger.store import open_for_reading
from costmeter.model import MS_PER_DAY


def cost(arguments: argparse.Namespace) -> int:
    """Spend by usage time."""
    now_ms = wall_ms()
    until_ms = instant(arguments.until, now_ms) if arguments.until else now_ms + MS_PER_DAY
    where = [_condition(text) for text in arguments.where]
    return _answer(
        arguments, since_ms=instant(arguments.since, now_ms), until_ms=until_ms, where=where
    )


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
    by = [_dimension(name.strip()) for name in arguments.by.split(",") if name.strip()]
    store = open_for_reading(config_of(arguments).ledger.path)
    try:
        found = spend(
            store.connection,
            by,
            since_ms=since_ms,
            until_ms=until_ms,
            booked_until=booked_until,
            where=where,
        )
    except ValueError as error:
        raise CommandError(str(error)) from None
    finally:
        store.close()
    rows: list[Sequence[Value]] = [_row(item) for item in found]
    if by and not arguments.json:
        rows.append(_row(_total(found, len(by))))
    show([*by, "requests", "cost_usd", "credit_usd", "net_usd"], rows, as_json=arguments.json)
    return 0


def _row(item: Spend) -> list[Value]:
    return [*item.group, item.requests, usd(item.up), usd(item.down), usd(item.net)]


def _total(found: Sequence[Spend], width: int) -> Spend:
    return Spend(
        ("total", *[" "] * (width - 1)),
        sum(item.requests for item in found),
        sum(item.up for item in found),
        sum(item.down for item in found),
    )


def _condition(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise CommandError(f"--where {text!r} is no condition; write --where team=search")
    return _dimension(name), value


def _dimension(name: str) -> str:
    return "tenant_id" if name == "tenant" else name
