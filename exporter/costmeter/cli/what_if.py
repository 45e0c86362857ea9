"""`costmeter what-if`: what another growth, price, model or number of users would cost."""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from pathlib import Path
from sqlite3 import Connection
from typing import NamedTuple

from costmeter.analysis.estimate import usage_labels
from costmeter.analysis.what_if import (
    FIXED,
    SEMI_VARIABLE,
    VARIABLE,
    Mix,
    Month,
    Part,
    Scenario,
    what_if,
)
from costmeter.cli.chart import Chart, check, save
from costmeter.cli.cost import condition
from costmeter.cli.errors import CommandError
from costmeter.cli.settings import config_of, usd, wall_ms
from costmeter.cli.table import Value, exact, show
from costmeter.engine.terms import price_book
from costmeter.ledger.history import amounts, spend
from costmeter.ledger.store import open_for_reading
from costmeter.model import MS_PER_DAY, NANO_PER_USD
from costmeter.pricing import PriceBook

_DAYS = 30
#: How a category's cost follows usage; the rest is paid by usage.
_MIXES: Mapping[str, Mix] = {
    **dict.fromkeys(("gpu_compute", "cpu_compute", "memory", "storage"), SEMI_VARIABLE),
    **dict.fromkeys(("personnel", "software_license", "support", "security_compliance"), FIXED),
}
_COLUMNS = ("month", "baseline_usd", "scenario_usd", "saved_usd", "saved_so_far_usd", "change")

Key = tuple[str, str, str]
Pair = tuple[str, str]


class Used(NamedTuple):
    """A model's last 30 days: net nano-USD, calls and pieces by class."""

    nano: int
    requests: int
    quantities: Mapping[str, int]


def scenarios(arguments: argparse.Namespace) -> int:
    """Scenario against baseline, month by month."""
    config, now_ms = config_of(arguments), wall_ms()
    asked = _scenario(arguments)
    check(arguments.chart)
    switches = dict(_switch(text) for text in arguments.switch)
    ratio = _number(arguments.tokens_ratio, "--tokens-ratio")
    store = open_for_reading(config.ledger.path)
    try:
        where = [condition(text) for text in arguments.where]
        used, days = last_days(store.connection, now_ms, where)
    except ValueError as error:
        raise CommandError(str(error)) from None
    finally:
        store.close()
    if not used:
        raise CommandError("nothing was spent in the last 30 days; there is no baseline")
    unknown = [pair for pair in switches if not any(key[1:] == pair for key in used)]
    if unknown:
        raise CommandError(
            f"{'/'.join(unknown[0])} was not used in the last 30 days; "
            "'costmeter cost --by provider,model --since 30d' lists what was"
        )
    book = price_book(config) if switches else None
    parts = [
        _part(key, one, days, book, switches.get(key[1:]), ratio, now_ms)
        for key, one in sorted(used.items())
    ]
    try:
        rows = what_if(parts, asked, arguments.months)
    except ValueError as error:
        raise CommandError(str(error)) from None
    if arguments.json:
        print(json.dumps(_document(asked, parts, rows, days), indent=2))
    else:
        show(_COLUMNS, [_row(row) for row in rows], as_json=False, places=2)
        _tell(parts, rows, days)
    if arguments.chart:
        _chart(rows, arguments.chart, now_ms)
    return 0


def last_days(
    connection: Connection, now_ms: int, where: Sequence[tuple[str, str]] = ()
) -> tuple[dict[Key, Used], int]:
    """What the last 30 complete days (UTC) used, by category, provider and model, and how many
    of them the ledger knows."""
    until = now_ms - now_ms % MS_PER_DAY
    since = until - _DAYS * MS_PER_DAY
    first = connection.execute("SELECT min(hour) FROM cell").fetchone()[0]
    days = _DAYS if first is None else min(_DAYS, -((first - until) // MS_PER_DAY))
    by = ("category", "provider", "model")
    quantities: dict[Key, dict[str, int]] = defaultdict(dict)
    for (*group, name), count in amounts(
        connection, "quantities", by, since_ms=since, until_ms=until, where=where
    ).items():
        quantities[group[0], group[1], group[2]][name] = count
    found: dict[Key, Used] = {}
    for one in spend(connection, by, since_ms=since, until_ms=until, where=where):
        key = (one.group[0], one.group[1], one.group[2])
        if one.net:
            found[key] = Used(one.net, one.requests, quantities.get(key, {}))
    return found, max(days, 1)


def switched(
    book: PriceBook, used: Used, target: Pair, ratio: Decimal, now_ms: int
) -> tuple[int | None, str]:
    """The same usage at another model's price: nano-USD, or None and why not.

    The tier of long contexts is that of the mean call. Where the other model has no price for
    what a cache served, those tokens are its ordinary input.
    """
    labels = usage_labels(*target)
    counts = {name: count for name, count in used.quantities.items() if count > 0}
    calls = max(used.requests, 1)
    rate = book.rate(labels, now_ms, "standard", {n: c // calls for n, c in counts.items()})
    if rate is None:
        return None, f"{'/'.join(target)} has no price"
    moved: dict[str, int] = defaultdict(int)
    for name, count in counts.items():
        plain = name.startswith("cache_") and name not in rate.prices
        moved["input" if plain else name] += count
    nano = rate.cost(moved)
    if nano is None:
        missing = ", ".join(sorted(name for name in moved if name not in rate.prices))
        return None, f"{'/'.join(target)} has no price for {missing}"
    return int((nano * ratio).to_integral_value(ROUND_HALF_EVEN)), ""


def _part(
    key: Key,
    used: Used,
    days: int,
    book: PriceBook | None,
    target: Pair | None,
    ratio: Decimal,
    now_ms: int,
) -> Part:
    category, provider, model = key
    mix = _MIXES.get(category, VARIABLE)
    name = "/".join(text for text in (provider, model) if text) or category
    if category != "llm_api":
        name = f"{category}: {name}" if name != category else name
    other: int | None = None
    if target is not None and book is not None:
        other, why = switched(book, used, target, ratio, now_ms)
        if other is None:
            raise CommandError(f"{name} cannot be switched: {why}")
        name = f"{name} -> {'/'.join(target)}"
    return Part(
        name,
        used.nano * _DAYS // days,
        usage=mix,
        switched=None if other is None else other * _DAYS // days,
        priced=mix is not FIXED,
    )


def _scenario(arguments: argparse.Namespace) -> Scenario:
    names = ("growth", "efficiency", "price_change", "users")
    figures = [_number(getattr(arguments, n), f"--{n.replace('_', '-')}") for n in names]
    try:
        return Scenario(*figures)
    except ValueError as error:
        raise CommandError(str(error)) from None


def _number(text: str, flag: str) -> Decimal:
    plain, percent = text.rstrip("% "), text.rstrip().endswith("%")
    try:
        value = Decimal(plain)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or abs(value) > 10_000:
        raise CommandError(f"{flag} {text!r} is no ratio; write 0.25, or 25%")
    return value / 100 if percent else value


def _switch(text: str) -> tuple[Pair, Pair]:
    old, equals, new = text.partition("=")
    if not equals or "/" not in old or "/" not in new:
        raise CommandError(
            f"--switch {text!r} names no two models; write "
            "--switch openai/gpt-5=anthropic/claude-haiku-4-5"
        )
    a, b = old.partition("/"), new.partition("/")
    return (a[0], a[2]), (b[0], b[2])


def _row(row: Month) -> list[Value]:
    change = "-" if row.change is None else f"{row.change * 100:+.1f} %"
    return [
        row.month, usd(row.baseline), usd(row.scenario), usd(row.saved), usd(row.saved_so_far),
        change,
    ]  # fmt: skip


def _tell(parts: Sequence[Part], rows: Sequence[Month], days: int) -> None:
    saved = usd(rows[-1].saved_so_far)
    verb = "saves" if saved >= 0 else "costs"
    more = "" if saved >= 0 else " more"
    print(f"in {len(rows)} months the scenario {verb} {abs(saved):,.2f} USD{more}")
    for part in parts:
        if part.switched is not None and part.monthly:
            print(
                f"{part.name}: {usd(part.monthly):,.2f} -> {usd(part.switched):,.2f} USD a month "
                "for the same tokens"
            )
    if days < _DAYS:
        print(f"the ledger knows {days} days; a month is taken as 30 such days", file=sys.stderr)


def _document(
    asked: Scenario, parts: Sequence[Part], rows: Sequence[Month], days: int
) -> dict[str, object]:
    return {
        "scenario": {
            "growth_per_year": exact(asked.growth_per_year),
            "efficiency_per_year": exact(asked.efficiency_per_year),
            "price_change": exact(asked.price_change),
            "users": exact(asked.users),
        },
        "days_known": days,
        "parts": [
            {
                "name": part.name,
                "monthly_usd": exact(usd(part.monthly)),
                "switched_usd": None if part.switched is None else exact(usd(part.switched)),
            }
            for part in parts
        ],
        "months": [
            {
                "month": row.month,
                "baseline_usd": exact(usd(row.baseline)),
                "scenario_usd": exact(usd(row.scenario)),
                "saved_usd": exact(usd(row.saved)),
                "saved_so_far_usd": exact(usd(row.saved_so_far)),
                "change_ratio": None if row.change is None else exact(row.change),
                "parts_usd": {name: exact(usd(nano)) for name, nano in row.parts},
            }
            for row in rows
        ],
    }


def _chart(rows: Sequence[Month], path: Path, now_ms: int) -> None:
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    dates = []
    for row in rows:
        months = now.year * 12 + now.month - 1 + row.month
        dates.append(now.date().replace(year=months // 12, month=months % 12 + 1, day=1))
    pairs = list(zip(dates, rows, strict=True))
    save(
        path,
        Chart(
            title="Monthly cost in USD: scenario against baseline",
            about=f"{usd(rows[-1].saved_so_far):,.2f} USD saved in {len(rows)} months",
            spent=[(day, row.baseline / NANO_PER_USD) for day, row in pairs],
            ahead=[(day, row.scenario / NANO_PER_USD) for day, row in pairs],
            names=("baseline", "scenario"),
        ),
    )
