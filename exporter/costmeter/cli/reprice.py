"""`costmeter reprice`: what the prices of now make of the past, and doing it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import closing

from costmeter.analysis.price_effect import effects
from costmeter.cli.errors import CommandError
from costmeter.cli.settings import config_of, instant, usd, wall_ms
from costmeter.cli.table import Value, exact, show
from costmeter.clock import SystemClock
from costmeter.engine.repricing import JOB
from costmeter.engine.terms import price_book
from costmeter.ledger.explain import events_since
from costmeter.ledger.jobstate import ask_running_exporter
from costmeter.ledger.reprice_state import Asked, ask_repricing, repricing_answer
from costmeter.ledger.store import LedgerError, open_for_reading

_COLUMNS = ("provider", "model", "calls", "changed", "old_usd", "new_usd", "difference_usd")


def reprice(arguments: argparse.Namespace) -> int:
    """Show the difference by model; without --dry-run, book it."""
    config, now_ms = config_of(arguments), wall_ms()
    path = config.ledger.path
    since_ms = instant(arguments.since, now_ms) if arguments.since else 0
    book = price_book(config)
    with closing(open_for_reading(path)) as store:
        found = [
            one for one in effects(book, events_since(store.connection, since_ms)) if one.moved
        ]
    rows: list[Sequence[Value]] = [
        (
            one.provider, one.model, one.calls, one.moved,
            usd(one.old), usd(one.new), usd(one.new - one.old),
        )
        for one in found
    ]  # fmt: skip
    total = usd(sum(one.new - one.old for one in found))
    said = ""
    if found and not arguments.dry_run:
        if not arguments.json:
            show(_COLUMNS, rows, as_json=False, places=6)
        said = _book(arguments, book.revision, since_ms, now_ms)
    if arguments.json:
        answer = {
            "models": [dict(zip(_COLUMNS, map(exact, row), strict=True)) for row in rows],
            "difference_usd": exact(total),
            "booked": bool(said) and not said.startswith("failed"),
            "said": said,
        }
        print(json.dumps(answer, indent=2))
    elif not found:
        print("every call has the price of its time; there is nothing to book")
    elif arguments.dry_run:
        show(_COLUMNS, rows, as_json=False, places=6)
        print(f"{total:+f} USD would be booked today; nothing was")
    else:
        print(f"{total:+f} USD: {said}")
    return int(said.startswith("failed"))


def _book(arguments: argparse.Namespace, revision: str, since_ms: int, now_ms: int) -> str:
    """Do it here, or have the exporter that writes this ledger do it; what that said."""
    from costmeter.engine.service import run_once

    config = config_of(arguments)
    path = config.ledger.path
    ask_repricing(path, Asked(revision, since_ms, now_ms))
    try:
        run_once(config, SystemClock(), JOB)
    except LedgerError as error:
        if "another costmeter" not in str(error):
            raise
        ask_running_exporter(path, JOB, wall_ms(), arguments.timeout)
    with closing(open_for_reading(path)) as store:
        answer = repricing_answer(store.connection, now_ms)
    if answer is None:
        raise CommandError(
            f"the running exporter did not answer within {arguments.timeout:g} s; look at its "
            "log, or ask again with a longer --timeout"
        )
    return answer
