"""`costmeter anomalies`: spend that was not as expected, and amounts that cannot be right."""

from __future__ import annotations

import argparse
import getpass
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from sqlite3 import Connection

from costmeter.cli.errors import CommandError
from costmeter.cli.settings import config_of, instant, usd, wall_ms
from costmeter.cli.table import Value, show
from costmeter.engine import anomaly_documents as stored
from costmeter.engine.anomaly_documents import Incident, Wrong
from costmeter.ledger.store import LedgerError, open_for_reading, plain_reason

_SHORT = ("id", "scope", "kind", "since", "expected_usd", "actual_usd", "status", "because_of")
_WHOLE = (
    "id", "dimension", "value", "kind", "direction", "status", "severity", "score",
    "expected_usd", "actual_usd", "difference_usd", "first_seen", "last_seen", "detected",
    "ended", "acknowledged_by", "note", "explained_by",
)  # fmt: skip
_RECORDS = ("id", "model", "tenant_id", "at", "cost_usd", "at_most_usd", "record", "why")
_SINCE_MS = 30 * 86_400_000


def anomalies(arguments: argparse.Namespace) -> int:
    """1 when something is open, for scripts."""
    config = config_of(arguments)
    now_ms = wall_ms()
    if arguments.acknowledge:
        return _acknowledge(arguments, now_ms)
    since_ms = instant(arguments.since, now_ms) if arguments.since else now_ms - _SINCE_MS
    with closing(open_for_reading(config.ledger.path)) as store:
        made_ms, _, _ = stored.newest_run(store.connection)
        found = [
            one
            for one in stored.incidents(store.connection, since_ms)
            if one.open or not arguments.open
        ]
        wrong = [one for one in stored.implausible(store.connection) if one.open]
    if arguments.json:
        rows = [_whole(one) for one in found]
        show(_WHOLE, rows, as_json=True)
        return int(any(one.open for one in found) or bool(wrong))
    if not made_ms:
        print("spend was not looked at yet; a running exporter does so every hour")
    elif not found:
        print("all spend was as expected")
    else:
        show(_SHORT, [_short(one) for one in found], as_json=False, places=2)
    if wrong:
        print()
        show(_RECORDS, [_record(one) for one in wrong], as_json=False, places=2)
    return int(any(one.open for one in found) or bool(wrong))


def _acknowledge(arguments: argparse.Namespace, now_ms: int) -> int:
    path = config_of(arguments).ledger.path
    open_for_reading(path).close()
    who = arguments.who or getpass.getuser()
    try:
        uri = f"{path.resolve().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10)) as writing:
            _write(writing, arguments.acknowledge, who, arguments.note, now_ms)
    except ValueError as error:
        raise CommandError(str(error)) from None
    except sqlite3.Error as error:
        raise LedgerError(plain_reason(error, path)[1]) from error
    print(f"{arguments.acknowledge} is acknowledged by {who}")
    return 0


def _write(writing: Connection, identity: str, who: str, note: str, now_ms: int) -> None:
    writing.execute("BEGIN IMMEDIATE")
    stored.say(writing, identity, who, note, now_ms)
    writing.execute("COMMIT")


def _short(one: Incident) -> list[Value]:
    finding = one.finding
    dimension, value = one.scope
    return [
        one.id,
        f"{dimension} {value}" if value else "everything",
        f"{finding.kind} {finding.direction}",
        _when(finding.first_seen_ms),
        usd(finding.expected),
        usd(finding.actual),
        _status(one),
        _because(one),
    ]


def _status(one: Incident) -> str:
    return f"known to {one.said}" if one.said else one.finding.ended or one.finding.status


def _because(one: Incident) -> str:
    shares = one.finding.explanation
    return ", ".join(f"{share.dimension} {share.value}" for share in shares[:2])


def _whole(one: Incident) -> list[Value]:
    finding = one.finding
    explained = "; ".join(
        f"{share.dimension}={share.value}: {usd(share.difference)}" for share in finding.explanation
    )
    return [
        one.id, *one.scope, finding.kind, finding.direction, finding.status, finding.severity,
        str(finding.score), usd(finding.expected), usd(finding.actual), usd(finding.size),
        _when(finding.first_seen_ms), _when(finding.last_seen_ms), _when(finding.detected_ms),
        finding.ended, one.said, one.note, explained,
    ]  # fmt: skip


def _record(one: Wrong) -> list[Value]:
    return [
        one.id,
        f"{one.provider}/{one.model}",
        one.tenant_id,
        _when(one.at_ms),
        usd(one.nano),
        usd(one.limit_nano),
        one.event_id,
        one.text,
    ]


def _when(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="minutes")
