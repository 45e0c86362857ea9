"""A ledger as an older version of the program left it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from costmeter.ledger.schema import MIGRATIONS


def make_older(connection: sqlite3.Connection, version: int) -> None:
    """Take away the tables, indexes and columns that came after `version`.

    What these hold is lost, and tables that went with it come back empty; the rest stays, as
    if the older version had written it.
    """
    with closing(sqlite3.connect(":memory:")) as old:
        for step in MIGRATIONS[:version]:
            step(old)
        for kind in ("index", "table"):
            for name in sorted(_names(connection, kind) - _names(old, kind)):
                connection.execute(f"DROP {kind} {name}")
        for kind in ("table", "index"):
            for name in sorted(_names(old, kind) - _names(connection, kind)):
                connection.execute(*_statement(old, name))
        for table in sorted(_names(old, "table")):
            for column in sorted(_columns(connection, table) - _columns(old, table)):
                connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    connection.execute(f"PRAGMA user_version = {version}")


def _statement(connection: sqlite3.Connection, name: str) -> tuple[str]:
    found: tuple[str] = connection.execute(
        "SELECT sql FROM sqlite_master WHERE name = ?", (name,)
    ).fetchone()
    return found


def _names(connection: sqlite3.Connection, kind: str) -> set[str]:
    return {
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = ?", (kind,))
        if not name.startswith("sqlite_")
    }


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
