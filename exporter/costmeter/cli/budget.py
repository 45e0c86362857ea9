"""`costmeter budget status`, `history` and `acknowledge`."""

from __future__ import annotations

import argparse
import getpass
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal

from costmeter.analysis.budgets import BudgetStatus
from costmeter.analysis.budgets.contacts import told
from costmeter.analysis.budgets.messages import Kind, message, when
from costmeter.cli.errors import CommandError
from costmeter.cli.settings import config_of, instant, usd, wall_ms
from costmeter.cli.table import Value, show
from costmeter.engine import budgets
from costmeter.engine.currencies import exchange_of
from costmeter.ledger import budget_alerts, budget_reads
from costmeter.ledger.store import LedgerError, open_for_reading, plain_reason

_SHORT = ("budget", "period", "level", "status", "spent_usd", "limit_usd", "forecast_usd",
          "exhausted_on")  # fmt: skip
_WHOLE = (
    "budget", "period", "tenant_id", "level", "status", "spent_usd", "limit_usd", "carried_usd",
    "forecast_usd", "forecast_low_usd", "forecast_high_usd", "daily_rate_usd", "daily_left_usd",
    "days_left", "overage_usd", "planned_left_usd", "exhausted_on", "exhausted_earliest",
    "exhausted_latest", "period_start", "period_end", "limit", "currency", "owner", "contacts",
)  # fmt: skip
_LEVELS = ("none", "warning", "critical", "exceeded")
_ALERTS = ("alert", "at", "budget", "crossed", "spent_usd", "limit_usd", "acknowledged_by", "note")


def status(arguments: argparse.Namespace) -> int:
    """1 when a budget is exceeded, for scripts."""
    for level in _levels(arguments):
        if level not in _LEVELS:
            raise CommandError(f"{level!r} is no level; choose from {', '.join(_LEVELS)}")
    config = config_of(arguments)
    now_ms = wall_ms()
    with closing(open_for_reading(config.ledger.path)) as store:
        try:
            found = _asked(arguments, store.connection, now_ms, exchange_of(config))
        except ValueError as error:
            raise CommandError(str(error)) from None
    if arguments.json:
        show(_WHOLE, [_whole(one) for one in found], as_json=True)
    elif not found:
        print(_nothing(arguments))
    else:
        show(_SHORT, [_short(one) for one in found], as_json=False, places=2)
        if arguments.name:
            _tell(found[0])
    return int(any(one.level == "exceeded" for one in found))


def history(arguments: argparse.Namespace) -> int:
    """Which amounts were crossed, newest first; or a budget's past periods."""
    config = config_of(arguments)
    now_ms = wall_ms()
    with closing(open_for_reading(config.ledger.path)) as store:
        if arguments.periods:
            if not arguments.name:
                raise CommandError("--periods needs the name of a budget")
            try:
                past = budgets.history(store.connection, arguments.name, now_ms)
            except ValueError as error:
                raise CommandError(str(error)) from None
            rows: list[list[Value]] = [
                [_iso(one.start_ms), _iso(one.end_ms), usd(one.spent), usd(one.limit_nano)]
                for one in past
            ]
            show(("start", "end", "spent_usd", "limit"), rows, as_json=arguments.json, places=2)
            return 0
        since_ms = instant(arguments.since, now_ms) if arguments.since else 0
        if arguments.name and budget_reads.named(store.connection, arguments.name) is None:
            raise CommandError(_unknown(arguments.name))
        rows = [
            _alert(one)
            for one in budget_alerts.history(
                store.connection, name=arguments.name, since_ms=since_ms
            )
            if not (arguments.open and one.acknowledged)
        ]
    show(_ALERTS, rows, as_json=arguments.json, places=2)
    return 0


def acknowledge(arguments: argparse.Namespace) -> int:
    """Note beside an alert that somebody has seen it; also while the exporter runs."""
    config = config_of(arguments)
    path = config.ledger.path
    open_for_reading(path).close()
    who = arguments.who or getpass.getuser()
    try:
        uri = f"{path.resolve().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10)) as writing:
            writing.execute("BEGIN IMMEDIATE")
            budget_alerts.acknowledge(writing, arguments.alert, who, arguments.note, wall_ms())
            writing.execute("COMMIT")
    except ValueError as error:
        raise CommandError(str(error)) from None
    except sqlite3.Error as error:
        raise LedgerError(plain_reason(error, path)[1]) from error
    print(f"alert {arguments.alert} is acknowledged by {who}")
    return 0


def _asked(
    arguments: argparse.Namespace, connection: sqlite3.Connection, now_ms: int, exchange: object
) -> list[BudgetStatus]:
    if arguments.name:
        return [budgets.status(connection, arguments.name, now_ms, exchange)]  # type: ignore[arg-type]
    found = budgets.statuses(connection, now_ms, exchange)  # type: ignore[arg-type]
    if arguments.tenant:
        found = [one for one in found if one.budget.tenant_id == arguments.tenant]
    if levels := _levels(arguments):
        found = [one for one in found if one.level in levels]
    return found


def _unknown(name: str) -> str:
    return f"there is no budget {name!r}; 'costmeter budget status' lists them"


def _levels(arguments: argparse.Namespace) -> list[str]:
    return [level.strip() for level in arguments.level.split(",") if level.strip()]


def _nothing(arguments: argparse.Namespace) -> str:
    """Why the table is empty."""
    whose = f" of tenant {arguments.tenant}" if arguments.tenant else ""
    if arguments.level:
        return f"no budget{whose} is at the level {' or '.join(_levels(arguments))}"
    if whose:
        return f"no budget{whose} has a period now"
    return "no budget has a period now; budgets are configured under 'budgets', see the docs"


def _short(one: BudgetStatus) -> list[Value]:
    return [
        one.budget.name, one.budget.period, one.level, one.state, usd(one.spent), usd(one.limit),
        usd(one.forecast), when(one, one.exhaustion_ms) if one.exhaustion_ms is not None else None,
    ]  # fmt: skip


def _whole(one: BudgetStatus) -> list[Value]:
    return [
        one.budget.name, one.budget.period, one.budget.tenant_id, one.level, one.state,
        usd(one.spent), usd(one.limit), usd(one.carried), usd(one.forecast), _usd(one.low),
        _usd(one.high), usd(one.daily_rate), usd(one.daily_left),
        Decimal(f"{one.days_left:.3f}"), usd(one.overage), usd(one.plans.left),
        _iso(one.exhaustion_ms), _iso(one.exhaustion_low_ms), _iso(one.exhaustion_high_ms),
        _iso(one.start_ms), _iso(one.end_ms), usd(one.budget.limit_nano), one.budget.currency,
        one.budget.owner, ", ".join(told(one.budget, "exceeded")),
    ]  # fmt: skip


def _tell(one: BudgetStatus) -> None:
    print()
    kind: Kind | None = "projected" if one.state == "projected_over" else None
    if one.level != "none":
        kind = one.level
    if kind is not None:
        print(message(one, kind).description)
        if addresses := told(one.budget, kind):
            print(f"Told of it: {', '.join(addresses)}.")
    rate = f"{usd(one.daily_rate):,.2f} USD a day are spent, {usd(one.daily_left):,.2f} are left"
    print(f"{rate} for each of {one.days_left:.1f} days.")
    if one.low is not None and one.high is not None:
        span = f"{usd(one.low):,.2f} to {usd(one.high):,.2f} USD"
        print(f"The period ends between {span} in four cases of five.")


def _alert(one: budget_alerts.Alert) -> list[Value]:
    last = one.answers[-1] if one.answers else None
    crossed = f"{one.kind} ({one.permille / 10:g} %)"
    return [
        one.alert, _iso(one.at_ms), one.budget.name, crossed, _usd(one.figures.get("spent")),
        _usd(one.figures.get("limit")), last.who if last else None, last.note if last else None,
    ]  # fmt: skip


def _usd(nano: int | None) -> Decimal | None:
    return None if nano is None else usd(nano)


def _iso(at_ms: int | None) -> str | None:
    if at_ms is None:
        return None
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
