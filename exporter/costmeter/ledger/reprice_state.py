"""What is kept of repricing: how far it came, and who asked to go through the past again.

Whoever asks may be another process than the one that writes the ledger.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from costmeter.ledger.booking import Booking
from costmeter.ledger.store import LedgerError, plain_reason

_ALL = "all"


def note_prices(booking: Booking, revision: str) -> int | None:
    """Up to which event repricing came with the book of `revision`; None when it has ended.

    Notes the book when it is another one than before. Inside a transaction.
    """
    row = booking.connection.execute(
        "SELECT value FROM state WHERE kind = 'prices' AND name = 'repriced'"
    ).fetchone()
    noted, _, reached = ("", "", "") if row is None else str(row[0]).partition(" ")
    if noted != revision:
        empty = booking.connection.execute("SELECT 1 FROM usage_event LIMIT 1").fetchone() is None
        note_reached(booking, revision, None if empty else 0)
        return None if empty else 0
    return None if reached == _ALL else int(reached)


def note_reached(booking: Booking, revision: str, reached: int | None) -> None:
    """Note how far repricing came with the book of `revision`; None for the end."""
    text = f"{revision} {_ALL if reached is None else reached}"
    booking.connection.execute(
        "INSERT OR REPLACE INTO state VALUES ('prices', 'repriced', ?, ?)", (text, booking.now_ms)
    )


class Asked(NamedTuple):
    """Somebody asked to go through the past with the prices of a book."""

    revision: str
    since_ms: int
    asked_ms: int


def ask_repricing(path: Path, asked: Asked) -> None:
    """Leave a request in a ledger that another process may write. Raises LedgerError."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as connection:
        try:
            connection.execute(
                "INSERT OR REPLACE INTO state VALUES ('reprice', 'asked', ?, ?)",
                (f"{asked.revision} {asked.since_ms}", asked.asked_ms),
            )
        except sqlite3.Error as error:
            raise LedgerError(plain_reason(error, path)[1]) from error


def asked_repricing(connection: sqlite3.Connection) -> Asked | None:
    """The request that waits; None when there is none."""
    row = connection.execute(
        "SELECT value, at_ms FROM state WHERE kind = 'reprice' AND name = 'asked'"
    ).fetchone()
    if row is None:
        return None
    revision, since = str(row[0]).split(" ")
    return Asked(revision, int(since), int(row[1]))


def answer_repricing(connection: sqlite3.Connection, asked: Asked, said: str) -> None:
    """The request has ended. Inside a transaction."""
    connection.execute(
        "INSERT OR REPLACE INTO state VALUES ('reprice', 'answer', ?, ?)", (said, asked.asked_ms)
    )
    connection.execute(
        "DELETE FROM state WHERE kind = 'reprice' AND name = 'asked' AND at_ms = ?",
        (asked.asked_ms,),
    )


def repricing_answer(connection: sqlite3.Connection, asked_ms: int) -> str | None:
    """What became of a request; None while it waits."""
    row = connection.execute(
        "SELECT value FROM state WHERE kind = 'reprice' AND name = 'answer' AND at_ms = ?",
        (asked_ms,),
    ).fetchone()
    return None if row is None else str(row[0])
