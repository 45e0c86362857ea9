"""`verify`, `backup`, `restore` and `run`: what keeps a ledger in good order."""

from __future__ import annotations

import argparse
import sys

from costmeter.cli.errors import CommandError
from costmeter.cli.settings import config_of, wall_ms
from costmeter.cli.table import show
from costmeter.clock import SystemClock
from costmeter.ledger.copies import back_up, restore
from costmeter.ledger.differences import Difference
from costmeter.ledger.jobstate import ask_running_exporter
from costmeter.ledger.store import LedgerError, open_for_reading
from costmeter.ledger.verify import verify


def verify_ledger(arguments: argparse.Namespace) -> int:
    """1 when anything differs."""
    store = open_for_reading(config_of(arguments).ledger.path)
    try:
        found = list(verify(store))
    finally:
        store.close()
    if arguments.json:
        rows = [
            (item.table, item.key, item.figure, item.stored, item.computed)
            if isinstance(item, Difference)
            else ("file", item, "", 0, 0)
            for item in found
        ]
        show(("table", "key", "figure", "stored", "computed"), rows, as_json=True)
        return int(bool(found))
    for item in found:
        print(item)
    print("every total is what lies under it" if not found else f"{len(found)} differences")
    return int(bool(found))


def backup(arguments: argparse.Namespace) -> int:
    store = open_for_reading(config_of(arguments).ledger.path)
    try:
        back_up(store, arguments.target, _progress)
    finally:
        store.close()
    print(f"{store.path} is copied to {arguments.target}")
    return 0


def restore_backup(arguments: argparse.Namespace) -> int:
    path = config_of(arguments).ledger.path
    restore(arguments.backup, path)
    print(f"{arguments.backup} is now {path}; its counters begin a new epoch at the next start")
    return 0


def run_job(arguments: argparse.Namespace) -> int:
    """Run a job here, or have the exporter that writes this ledger run it."""
    from costmeter.engine.service import run_once

    config = config_of(arguments)
    path = config.ledger.path
    if not path.exists():
        raise CommandError(f"there is no ledger at {path}; 'costmeter serve' creates one")
    try:
        said = run_once(config, SystemClock(), arguments.job)
    except LedgerError as error:
        if "another costmeter" not in str(error):
            raise
        answer = ask_running_exporter(path, arguments.job, wall_ms(), arguments.timeout)
        if answer is None:
            raise CommandError(
                f"the running exporter did not answer within {arguments.timeout:g} s; "
                "look at its log, or ask again with a longer --timeout"
            ) from None
        said = answer
    print(f"{arguments.job}: {said}")
    return int(said.startswith(("failed", "there is no ")))


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        share = 100 * done // total if total else 100
        print(f"\r{share} %", end="\n" if done >= total else "", file=sys.stderr, flush=True)
