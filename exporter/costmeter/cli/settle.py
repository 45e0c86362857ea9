"""`costmeter settle`: how bills became postings, line by line."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from sqlite3 import Connection

from costmeter.attribution import NONE, Scope
from costmeter.cli.errors import CommandError
from costmeter.cli.settings import config_of, instant, usd, wall_ms
from costmeter.cli.table import Value, exact, show
from costmeter.engine.terms import scopes_of
from costmeter.ledger.settle.bills import current_lines
from costmeter.ledger.settle.figures import days_of
from costmeter.ledger.settle.meters import metered_on
from costmeter.ledger.settle.plan import METERED, Plan, bearer, plan
from costmeter.ledger.store import open_for_reading, transaction_for_reading
from costmeter.model import MS_PER_DAY, Labels

_WHY = {
    "metered": "a line is not final or has no rate of exchange: the meters hold",
    "provisional": "only the bill says what this costs: its latest figures hold",
    "final": "every line is final: the bill is the amount",
}


def settle(arguments: argparse.Namespace) -> int:
    """The days of every scope that has a bill, or one of them explained.

    1 when what is posted for the explained day is not what its bill says now.
    """
    config = config_of(arguments)
    scopes = scopes_of(config)
    with (
        closing(open_for_reading(config.ledger.path)) as store,
        transaction_for_reading(store.connection),
    ):
        if arguments.explain is None:
            since = instant(arguments.since, wall_ms()) // MS_PER_DAY
            return _list(store.connection, since, as_json=arguments.json)
        name, text = arguments.explain
        return _explain(store.connection, scopes, name, text, as_json=arguments.json)


def _list(connection: Connection, since_day: int, *, as_json: bool) -> int:
    columns = ["scope", "day", "status", "metered_usd", "billed_usd", "unattributed_usd", "settled"]
    rows: list[Sequence[Value]] = [
        [
            item.scope,
            _date(item.day),
            item.status,
            usd(item.metered),
            usd(item.billed),
            usd(item.unattributed),
            usd(item.metered + item.posted),
        ]
        for item in days_of(connection, since_day)
    ]
    if not rows and not as_json:
        print("no bill has come for these days; 'amount_from' of a scope names its source")
        return 0
    show(columns, rows, as_json=as_json)
    return 0


def _explain(
    connection: Connection, scopes: Sequence[Scope], name: str, text: str, *, as_json: bool
) -> int:
    scope = next((found for found in scopes if found.name == name), None)
    if scope is None or scope.amount_from == NONE:
        known = ", ".join(found.name for found in scopes if found.amount_from != NONE)
        raise CommandError(f"scope {name!r} has no bill; scopes with one: {known or 'none'}")
    day = instant(text, wall_ms()) // MS_PER_DAY
    lines = current_lines(connection, scope, day)
    made = plan(scope, lines, metered_on(connection, scopes, scope, day).meters)
    settled = next((d for d in days_of(connection, day, name) if d.day == day), None)
    posted = 0 if settled is None else settled.posted
    whole = posted == sum(made.wanted.values())
    foreign = {
        line.line: f"{line.amount} {line.currency} at {line.fx_rate}"
        for line in lines
        if line.currency != "USD"
    }
    rows = _rows(made, foreign)
    unknown = [line for line in lines if line.usd_nano is None]
    if as_json:
        columns = ("what", "name", "who", "amount_usd", "because")
        found = {
            "scope": name,
            "day": _date(day),
            "source": scope.amount_from,
            "status": made.status,
            "metered_usd": exact(usd(made.metered)),
            "billed_usd": exact(usd(made.billed)),
            "value_usd": exact(usd(made.value)),
            "unattributed_usd": exact(usd(made.unattributed)),
            "posted_usd": exact(usd(posted)),
            "unconverted": [f"{line.line}: {line.amount} {line.currency}" for line in unknown],
            "steps": [dict(zip(columns, map(exact, row), strict=True)) for row in rows],
        }
        print(json.dumps(found, indent=2))
        return int(not whole)
    print(f"{name} on {_date(day)}, billed by {scope.amount_from} ({scope.basis} cost)")
    print(f"{made.status}: {_WHY[made.status]}\n")
    if not lines:
        print("no line of a bill has come for this day")
    for line in unknown:
        print(f"line {line.line}: {line.amount} {line.currency} has no rate of exchange yet")
    if rows:
        show(["", "name", "who", "amount_usd", "because"], rows, as_json=False, places=9)
    print(
        f"\nmetered {usd(made.metered):f} + settled {usd(made.value - made.metered):f}"
        f" = {usd(made.value):f} USD; the bill says {usd(made.billed):f}"
        f"; unattributed {usd(made.unattributed):f}"
    )
    if not whole:
        wanted = usd(sum(made.wanted.values()))
        print(f"posted so far: {usd(posted):f} instead of {wanted:f}; the next settling posts it")
    return int(not whole)


def _rows(made: Plan, foreign: dict[str, str]) -> list[list[Value]]:
    rows: list[list[Value]] = []
    for number, share in enumerate(made.shares, 1):
        group = share.group
        agreed = " and ".join(group.keys)
        if agreed:
            why = f"same {agreed}"
        else:
            why = "what is left of the day" if group.meters else "no meter"
        for charge, left in zip(group.charges, share.left, strict=True):
            said = f"group {number}: {why}"
            if charge.line in foreign:
                said += f"; {foreign[charge.line]}"
            rows.append(["line", charge.line, _who(charge.labels), usd(charge.nano), said])
            if left:
                over = "above what meters may bear" if any(share.borne) else "no meter bears it"
                rows.append(["  left", charge.line, _who(bearer(charge.labels)), usd(left), over])
        for meter, borne in zip(group.meters, share.borne, strict=True):
            metered = f"metered {usd(meter.nano):f}"
            if meter.unpriced:
                metered += f", {meter.tokens:,} tokens, some without a price"
            rows.append(["  bears", meter.labels.model, _who(meter.labels), usd(borne), metered])
    for meter in made.unbilled:
        holds = made.status == METERED
        borne = meter.nano if holds else 0
        why = "holds" if holds else f"metered {usd(meter.nano):f}, in no line of the bill"
        rows.append(["meter", meter.labels.model, _who(meter.labels), usd(borne), why])
    for charge in made.others:
        why = charge.charge if made.status != METERED else f"{charge.charge}, not posted yet"
        rows.append(["line", charge.line, _who(bearer(charge.labels)), usd(charge.nano), why])
    return rows


def _who(labels: Labels) -> str:
    """Whose it is, as far as the labels say."""
    found = (labels.tenant_id, labels.account, labels.environment, labels.team, labels.feature)
    return "/".join(value for value in found if value)


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * MS_PER_DAY / 1000, UTC).date().isoformat()
