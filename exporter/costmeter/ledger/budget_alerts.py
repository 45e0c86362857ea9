"""The history of budgets' alerts: one entry for each amount that was crossed in a period.

The unique key is the budget, its period and the declared amount. So nothing is told twice,
whoever looks and however often the exporter starts, a credit may take spend below an amount
and the next call over it again, and the next period begins with a clean sheet. Another limit
or threshold is another amount.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from sqlite3 import Connection
from typing import NamedTuple

import msgspec

from costmeter.model import Budget


class Crossing(NamedTuple):
    """An amount that was crossed; `figures` are those of that moment, in nano-USD and ms."""

    number: int
    start_ms: int
    kind: str
    limit_nano: int
    permille: int
    at_ms: int
    figures: Mapping[str, int | None]


class Answer(NamedTuple):
    at_ms: int
    who: str
    note: str


class Alert(NamedTuple):
    """An entry of the history."""

    alert: int
    budget: Budget
    start_ms: int
    kind: str
    limit_nano: int
    permille: int
    at_ms: int
    figures: Mapping[str, int | None]
    answers: tuple[Answer, ...]

    @property
    def acknowledged(self) -> bool:
        return bool(self.answers)


def record(connection: Connection, crossings: Sequence[Crossing]) -> list[Crossing]:
    """Write down what is new among these; inside a write transaction."""
    return [
        one
        for one in crossings
        if connection.execute(
            "INSERT INTO budget_alert (number, start, kind, limit_nano, permille, at_ms, figures) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (*one[:6], msgspec.json.encode(one.figures).decode()),
        ).rowcount
    ]


def acknowledge(connection: Connection, alert: int, who: str, note: str, now_ms: int) -> None:
    """Note that somebody has seen an entry. Raises ValueError for one that is not there."""
    if not who.strip():
        raise ValueError("an acknowledgement says who gives it")
    # SQLite's integers end at 2**63; no alert has such a number.
    found = (
        0 < alert < 1 << 63
        and connection.execute("SELECT 1 FROM budget_alert WHERE alert = ?", (alert,)).fetchone()
    )
    if not found:
        raise ValueError(f"there is no alert {alert}; 'costmeter budget history' lists them")
    last = connection.execute(
        "SELECT coalesce(max(at_ms), 0) FROM budget_answer WHERE alert = ?", (alert,)
    ).fetchone()[0]
    connection.execute(
        "INSERT INTO budget_answer VALUES (?, ?, ?, ?)",
        (alert, max(now_ms, last + 1), who.strip(), note),
    )


def history(
    connection: Connection, *, name: str = "", since_ms: int = 0, count: int = 1_000
) -> Iterator[Alert]:
    """The newest entries first, of one budget or of all."""
    where, values = "at_ms >= ?", [since_ms]
    if name:
        where += " AND budget_now.name = ?"
    for row in connection.execute(
        "SELECT alert, definition, start, kind, limit_nano, permille, at_ms, figures "
        "FROM budget_alert JOIN budget_now USING (number) JOIN budget USING (name, rev) "
        f"WHERE {where} ORDER BY at_ms DESC, alert DESC LIMIT ?",
        (*values, *([name] if name else []), count),
    ).fetchall():
        answers = connection.execute(
            "SELECT at_ms, who, note FROM budget_answer WHERE alert = ? ORDER BY at_ms", (row[0],)
        )
        yield Alert(
            row[0],
            msgspec.json.decode(row[1], type=Budget),
            row[2],
            row[3],
            row[4],
            row[5],
            row[6],
            msgspec.json.decode(row[7]),
            tuple(Answer(*answer) for answer in answers),
        )
