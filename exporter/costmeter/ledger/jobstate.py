"""What the job runner must remember across restarts, and requests by hand."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from sqlite3 import Connection
from typing import NamedTuple

from costmeter.ledger.store import LedgerError, plain_reason
from costmeter.ledger.writer import Writer

_SUCCESS, _REQUEST, _ANSWER = "job_success", "job_request", "job_answer"
_PUT = "INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?)"


class Request(NamedTuple):
    """Somebody asked for a run by hand."""

    name: str
    asked_ms: int


class JobState:
    """Reads from a connection of its own, writes through the writer."""

    def __init__(self, connection: Connection, writer: Writer) -> None:
        self._connection = connection
        self._writer = writer

    def last_success(self, name: str) -> int | None:
        row = self._connection.execute(
            "SELECT at_ms FROM state WHERE kind = ? AND name = ?", (_SUCCESS, name)
        ).fetchone()
        return None if row is None else int(row[0])

    def succeeded(self, name: str, at_ms: int) -> None:
        self._put(_SUCCESS, name, "", at_ms)

    def requests(self) -> Sequence[Request]:
        """Runs that were asked for and not answered yet."""
        return [
            Request(*row)
            for row in self._connection.execute(
                "SELECT asked.name, asked.at_ms FROM state AS asked LEFT JOIN state AS answer "
                "ON answer.kind = ? AND answer.name = asked.name AND answer.at_ms = asked.at_ms "
                "WHERE asked.kind = ? AND answer.name IS NULL",
                (_ANSWER, _REQUEST),
            )
        ]

    def answered(self, request: Request, outcome: str) -> None:
        self._put(_ANSWER, request.name, outcome, request.asked_ms)

    def _put(self, kind: str, name: str, value: str, at_ms: int) -> None:
        execute = self._writer.booking.connection.execute
        self._writer.run(lambda: execute(_PUT, (kind, name, value, at_ms))).result()


def ask_running_exporter(path: Path, name: str, now_ms: int, timeout_seconds: float) -> str | None:
    """Ask the exporter that writes this ledger to run a job; its answer, None for no answer.

    Raises LedgerError when the request cannot be left there.
    """
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    try:
        connection.execute(_PUT, (_REQUEST, name, "", now_ms))
        ends = time.monotonic() + timeout_seconds
        while time.monotonic() < ends:
            row = connection.execute(
                "SELECT value FROM state WHERE kind = ? AND name = ? AND at_ms = ?",
                (_ANSWER, name, now_ms),
            ).fetchone()
            if row is not None:
                return str(row[0])
            time.sleep(0.2)
    except sqlite3.Error as error:
        raise LedgerError(plain_reason(error, path)[1]) from error
    finally:
        connection.close()
    return None
