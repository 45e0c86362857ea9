"""Erasing a user: who it was leaves the ledger, what was spent stays.

A request waits in the ledger as salted digests, so that asking for it does not write the
id once more. The writer empties what names the user in one transaction; then `scrub`
rebuilds the file, because SQLite leaves old text in free parts of its pages.
"""

from __future__ import annotations

import hmac
import json
import secrets
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from sqlite3 import Connection
from typing import Any, NamedTuple

from costmeter.ledger import budget_erase
from costmeter.ledger.booking import Booking
from costmeter.ledger.store import LedgerError, plain_reason

#: What stands in place of an erased id; the rest is random and kept nowhere else.
ERASED = "erased:"
_REQUEST, _ANSWER = "erase_request", "erase_answer"
_PUT = "INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?)"
_BUSY_SECONDS = 60.0
#: Readers hold a state of the file for milliseconds; a backup may hold one for minutes.
READERS_SECONDS = 20.0


class Stored(NamedTuple):
    """A user as the ledger names one: the same text in two organizations is two users."""

    tenant_id: str
    user_id: str


class Done(NamedTuple):
    """Users that were found, events emptied, and daily sums renamed."""

    users: int
    events: int
    days: int


class Erasure(NamedTuple):
    """What was asked for. `done` holds what the rows' erasure did, once it did."""

    name: str
    salt: bytes
    digests: Sequence[str]
    rebuild: bool
    done: Done | None


class Outcome(NamedTuple):
    """What an erasure did. `left` says what could not be cleaned in the files; "" is good."""

    users: int
    events: int
    days: int
    left: str


def stored_users(connection: Connection) -> list[Stored]:
    """Every user that some row names, those of events in no total yet included."""
    return [
        Stored(*row)
        for row in connection.execute(
            "SELECT tenant_id, user_id FROM (SELECT org, user_id FROM user_day UNION "
            "SELECT org, user_id FROM usage_event WHERE event > "
            "(SELECT CAST(v AS INTEGER) FROM meta WHERE k = 'flushed_event')) "
            "JOIN org USING (org) WHERE user_id != '' ORDER BY tenant_id, user_id"
        )
    ]


def count_events(connection: Connection, user: Stored) -> int:
    row = connection.execute(
        "SELECT count(*) FROM usage_event JOIN org USING (org) WHERE tenant_id = ? AND user_id = ?",
        user,
    ).fetchone()
    return int(row[0])


def leave_request(path: Path, users: Iterable[Stored], now_ms: int, *, rebuild: bool) -> str:
    """Leave a request for whoever writes this ledger; its name. Raises LedgerError."""
    salt, name = secrets.token_bytes(16), secrets.token_hex(8)
    value = {
        "salt": salt.hex(),
        "digests": [_digest(salt, user) for user in users],
        "rebuild": rebuild,
    }
    try:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as connection:
            connection.execute(_PUT, (_REQUEST, name, json.dumps(value), now_ms))
    except sqlite3.Error as error:
        raise LedgerError(plain_reason(error, path)[1]) from error
    return name


def withdraw_request(path: Path, name: str) -> None:
    """Take a request back that nobody answered."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as connection:
        # One whose rows are erased already stays: its files are still to be cleaned.
        connection.execute(
            "DELETE FROM state WHERE kind = ? AND name = ? "
            "AND json_extract(value, '$.done') IS NULL",
            (_REQUEST, name),
        )


def answer_of(connection: Connection, name: str) -> Outcome | None:
    """What became of a request; None while it waits."""
    row = connection.execute(
        "SELECT value FROM state WHERE kind = ? AND name = ?", (_ANSWER, name)
    ).fetchone()
    return None if row is None else Outcome(*json.loads(row[0]))


def pending(connection: Connection) -> list[Erasure]:
    """Requests that are not answered, those whose rows are erased already included."""
    rows = connection.execute(
        "SELECT name, value FROM state WHERE kind = ? ORDER BY at_ms, name", (_REQUEST,)
    ).fetchall()
    return [_read(name, json.loads(value)) for name, value in rows]


def erase(booking: Booking, asked: Erasure) -> Done:
    """Empty what names the users. Inside a transaction.

    No cell, counter or amount is touched, so every total and every "as of" stays. Each
    user becomes a random token of its own: users are still told apart and nothing leads
    back, because no key for it exists.
    """
    if asked.done is not None:
        return asked.done
    connection = booking.connection
    wanted = set(asked.digests)
    found = [user for user in stored_users(connection) if _digest(asked.salt, user) in wanted]
    (before,) = connection.execute("PRAGMA secure_delete").fetchone()
    connection.execute("PRAGMA secure_delete = ON")
    try:
        events, days = _replace(booking, found)
    finally:
        # It costs every write a little, so only these pay for it.
        connection.execute(f"PRAGMA secure_delete = {int(before)}")
    done = Done(len(found), events, days)
    # The digests have done their work; from here on only the files are left to clean.
    connection.execute(
        _PUT,
        (
            _REQUEST,
            asked.name,
            json.dumps({"rebuild": asked.rebuild, "done": done}),
            booking.now_ms,
        ),
    )
    connection.execute(
        "INSERT INTO audit (at_ms, kind, text) VALUES (?, 'erase-user', ?)",
        (booking.now_ms, f"{len(found)} users erased from {events} events, request {asked.name}"),
    )
    return done


def _replace(booking: Booking, users: Sequence[Stored]) -> tuple[int, int]:
    """Events and daily sums that now carry a token instead of a user; so do budgets."""
    connection, events, days = booking.connection, 0, 0
    tokens = {user: ERASED + secrets.token_hex(16) for user in users}
    for user, token in tokens.items():
        (org,) = connection.execute(
            "SELECT org FROM org WHERE tenant_id = ?", (user.tenant_id,)
        ).fetchone()
        events += connection.execute(
            "UPDATE usage_event SET user_id = ?, session_id = '', detail = '' "
            "WHERE org = ? AND user_id = ?",
            (token, org, user.user_id),
        ).rowcount
        days += connection.execute(
            "UPDATE user_day SET user_id = ? WHERE org = ? AND user_id = ?",
            (token, org, user.user_id),
        ).rowcount
    if users:
        erased = {(user.tenant_id, user.user_id): token for user, token in tokens.items()}
        budget_erase.erase_users(booking, erased, stored_users(connection))
    return events, days


def answer(booking: Booking, asked: Erasure, outcome: Outcome) -> None:
    """Put the outcome where whoever asked looks for it. Inside a transaction."""
    execute = booking.connection.execute
    execute("DELETE FROM state WHERE kind = ? AND name = ?", (_REQUEST, asked.name))
    execute(_PUT, (_ANSWER, asked.name, json.dumps(outcome), booking.now_ms))


def scrub(path: Path, *, rebuild: bool, readers_seconds: float = READERS_SECONDS) -> str:
    """Leave no old text in the ledger's files; what could not be done, in words.

    Rebuilding takes the file's size in free space, and writers wait for it.
    """
    try:
        with closing(
            sqlite3.connect(path, isolation_level=None, timeout=_BUSY_SECONDS)
        ) as connection:
            if rebuild:
                connection.execute("VACUUM")
            return _empty_log(connection, readers_seconds) or ("" if rebuild else _NOT_REBUILT)
    except sqlite3.Error as error:
        return f"the file could not be rebuilt: {plain_reason(error, path)[1]}"


_NOT_REBUILT = (
    "the file was not rebuilt: free parts of its pages may hold the id until they are used again"
)


def _empty_log(connection: Connection, readers_seconds: float) -> str:
    # The checkpoint keeps writers out while it waits for readers, so each try is short.
    connection.execute("PRAGMA busy_timeout = 200")
    ends = time.monotonic() + readers_seconds
    while True:
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not busy:
            return ""
        if time.monotonic() > ends:
            return (
                "somebody reads an older state of the ledger (a backup?), so the write-ahead log "
                "still holds the id; end that, then run 'costmeter run erase-user'"
            )
        time.sleep(0.5)


def _digest(salt: bytes, user: Stored) -> str:
    text = f"{user.tenant_id}\0{user.user_id}".encode()
    return hmac.new(salt, text, blake2b).hexdigest()[:48]


def _read(name: str, value: dict[str, Any]) -> Erasure:
    return Erasure(
        name,
        bytes.fromhex(value.get("salt", "")),
        value.get("digests", ()),
        value["rebuild"],
        Done(*value["done"]) if "done" in value else None,
    )
