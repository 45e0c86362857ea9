"""`costmeter erase-user`: who it was leaves the ledger, what was spent stays."""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from costmeter.cli.errors import CommandError
from costmeter.cli.pseudonyms import pseudonyms_of
from costmeter.cli.settings import config_of, wall_ms
from costmeter.cli.table import show
from costmeter.clock import SystemClock
from costmeter.config import Config
from costmeter.ledger.erase import (
    Outcome,
    Stored,
    answer_of,
    count_events,
    leave_request,
    stored_users,
    withdraw_request,
)
from costmeter.ledger.jobstate import ask_running_exporter
from costmeter.ledger.store import LedgerError, open_for_reading

_JOB = "erase-user"


def erase_user(arguments: argparse.Namespace) -> int:
    """1 when nobody was found, or when the id may still be in a file."""
    config = config_of(arguments)
    path = config.ledger.path
    with closing(open_for_reading(path)) as store:
        found = _named(config, stored_users(store.connection), arguments)
        counts = [count_events(store.connection, user) for user in found]
    _tell_of_budgets(config, found)
    if not arguments.yes:
        rows = [(user.tenant_id, count) for user, count in zip(found, counts, strict=True)]
        show(("tenant_id", "events"), rows, as_json=arguments.json)
        print("nothing is erased yet; it cannot be undone: repeat it with --yes", file=sys.stderr)
        return 0
    name = leave_request(path, found, wall_ms(), rebuild=not arguments.skip_rebuild)
    try:
        _run(config, arguments.timeout)
        outcome = _await(path, name, arguments.timeout)
    except BaseException:
        with suppress(sqlite3.Error):
            withdraw_request(path, name)
        raise
    return _tell(outcome, path, as_json=arguments.json)


def _named(config: Config, stored: Sequence[Stored], arguments: argparse.Namespace) -> list[Stored]:
    """The user under the plain id and under its pseudonym, in the tenants that were named."""
    text = sys.stdin.readline().rstrip("\n") if arguments.user == "-" else arguments.user
    if not text:
        raise CommandError("no user was named; write an id, or - and the id on standard input")
    pseudonyms = pseudonyms_of(config)
    wanted = set(arguments.tenant)
    found = [
        user
        for user in stored
        if (not wanted or user.tenant_id in wanted)
        and (
            user.user_id == text
            or (pseudonyms is not None and user.user_id == pseudonyms.of(user.tenant_id, text))
        )
    ]
    tenants = sorted({user.tenant_id for user in found})
    if not found:
        where = f" of {', '.join(sorted(wanted))}" if wanted else ""
        hint = "" if pseudonyms is not None else _NO_KEY
        raise CommandError(f"no stored event{where} names this user{hint}")
    if len(tenants) > 1 and not wanted and not arguments.all_tenants:
        raise CommandError(
            f"this id is a user of {', '.join(tenants)}, which may be different people; "
            "write --tenant TENANT, or --all-tenants"
        )
    return found


_NO_KEY = (
    "; if users are pseudonymised, give the --config.file whose "
    "ingest.pseudonym_key_file holds the key"
)


def _run(config: Config, timeout: float) -> None:
    """Here, or in the exporter that writes this ledger."""
    from costmeter.engine.service import run_once

    try:
        said: str | None = run_once(config, SystemClock(), _JOB)
    except LedgerError as error:
        if "another costmeter" not in str(error):
            raise
        said = ask_running_exporter(config.ledger.path, _JOB, wall_ms(), timeout)
    if said is None:
        raise CommandError(
            f"the running exporter did not answer within {timeout:g} s; unless it is at it "
            "already, nothing is erased: look at its log, then ask again with a longer --timeout"
        )
    if said.startswith("there is no job"):
        raise CommandError("the running exporter is older than this command; restart it first")
    if said.startswith("failed"):
        raise CommandError(said.removeprefix("failed: "))


def _await(path: Path, name: str, timeout: float) -> Outcome:
    """The outcome; the exporter may have met the request in a run of its own."""
    ends = time.monotonic() + timeout
    with closing(open_for_reading(path)) as store:
        while (outcome := answer_of(store.connection, name)) is None:
            if time.monotonic() > ends:
                raise CommandError("the exporter ran the job and left no answer; look at its log")
            time.sleep(0.1)
    return outcome


def _tell_of_budgets(config: Config, found: Sequence[Stored]) -> None:
    users = {user.user_id for user in found}
    names = [budget.name for budget in config.budgets.items if budget.user_id in users]
    if names:
        print(
            f"the configuration has budgets of this user ({', '.join(names)}): take them out "
            "first, or the next start makes them anew, with the id",
            file=sys.stderr,
        )


def _tell(outcome: Outcome, path: Path, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(outcome._asdict(), indent=2))
    else:
        print(f"{outcome.users} erased: {outcome.events} events, {outcome.days} daily sums")
    if outcome.left:
        print(outcome.left, file=sys.stderr)
    print(
        "backups hold the user still: delete those made before now, or erase again after a restore",
        file=sys.stderr,
    )
    aside = path.resolve().with_name(path.name + ".before-restore")
    if aside.exists():
        print(f"so does {aside}, which a restore left there", file=sys.stderr)
    return int(bool(outcome.left))
