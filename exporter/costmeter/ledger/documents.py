"""Documents: whole texts with their revisions, such as forecasts and findings.

Append-only: a revision that was written is never written again, only pruned when it is old.
Written inside the writer's transactions, read from any connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from sqlite3 import Connection
from typing import NamedTuple

#: From id to id through the primary key, so that old revisions are not read.
_IDS = (
    "WITH RECURSIVE ids(id) AS ("
    "SELECT min(id) FROM document WHERE org = :org AND kind = :kind UNION ALL "
    "SELECT (SELECT min(id) FROM document WHERE org = :org AND kind = :kind AND id > ids.id) "
    "FROM ids WHERE ids.id IS NOT NULL) "
)
_NEWEST = (
    "SELECT d.id, d.rev, d.at_ms, d.body FROM ids CROSS JOIN document AS d "
    "ON d.org = :org AND d.kind = :kind AND d.id = ids.id AND d.rev = ("
    "SELECT max(rev) FROM document WHERE org = :org AND kind = :kind AND id = ids.id) "
    "WHERE ids.id IS NOT NULL AND d.rev >= :since ORDER BY d.id"
)


class Document(NamedTuple):
    id: str
    rev: int
    at_ms: int
    body: str


def put(connection: Connection, kind: str, documents: Iterable[Document], *, org: int = 0) -> int:
    """Write revisions that are not there yet; how many were. Inside a transaction."""
    return connection.executemany(
        "INSERT INTO document (org, kind, id, rev, at_ms, body) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT DO NOTHING",
        [(org, kind, *one) for one in documents],
    ).rowcount


def newest(
    connection: Connection, kind: str, *, org: int = 0, since_rev: int = -(1 << 62)
) -> Iterator[Document]:
    """The newest revision of each id, in the order of ids, where it is `since_rev` or above."""
    wanted = {"org": org, "kind": kind, "since": since_rev}
    for row in connection.execute(_IDS + _NEWEST, wanted):
        yield Document(*row)


def one(connection: Connection, kind: str, identity: str, *, org: int = 0) -> Document | None:
    """The newest revision of one id."""
    row = connection.execute(
        "SELECT id, rev, at_ms, body FROM document WHERE org = ? AND kind = ? AND id = ? "
        "ORDER BY rev DESC LIMIT 1",
        (org, kind, identity),
    ).fetchone()
    return None if row is None else Document(*row)


def revisions(
    connection: Connection, kind: str, identity: str, *, org: int = 0, since_rev: int = -(1 << 62)
) -> list[Document]:
    """All revisions of one id from `since_rev` on, oldest first."""
    return [
        Document(*row)
        for row in connection.execute(
            "SELECT id, rev, at_ms, body FROM document "
            "WHERE org = ? AND kind = ? AND id = ? AND rev >= ? ORDER BY rev",
            (org, kind, identity, since_rev),
        )
    ]


def prune(connection: Connection, kind: str, before_ms: int, *, org: int = 0) -> int:
    """Delete revisions that were written before an instant; how many. Inside a transaction."""
    return connection.execute(
        "DELETE FROM document WHERE org = ? AND kind = ? AND at_ms < ?", (org, kind, before_ms)
    ).rowcount
