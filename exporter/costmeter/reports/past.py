"""What the counters and gauges of a ledger are made of, by series and hour, sorted.

The cells are added up by exported labels into temporary tables, which SQLite keeps in a
file, and read back in the order of series. So memory does not grow with the past. Nothing of
the ledger is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from sqlite3 import Connection
from typing import NamedTuple

import msgspec

from costmeter.ledger.admission import EXPORTED, Admission, Limits
from costmeter.ledger.metered import HISTORY_FEED
from costmeter.model import MS_PER_DAY, MS_PER_HOUR, TOKEN_CLASSES, Labels, Release

#: Where a cell stands: shown up to the end, shown by live counters only after it, or never.
_BEFORE, _AFTER, _NEVER = 0, 1, 2
_TABLES = """
CREATE TEMP TABLE past_label (
    series INTEGER PRIMARY KEY, category TEXT, provider TEXT, model TEXT, tenant_id TEXT,
    environment TEXT, team TEXT, feature TEXT);
CREATE TEMP TABLE past_shown (dim INTEGER, booked INTEGER, series INTEGER,
    PRIMARY KEY (dim, booked)) WITHOUT ROWID;
CREATE TEMP TABLE past_history (dim INTEGER, hour INTEGER, PRIMARY KEY (dim, hour))
    WITHOUT ROWID;
CREATE TEMP TABLE past_cost (series INTEGER, hour INTEGER, stands INTEGER,
    up INTEGER, down INTEGER);
CREATE TEMP TABLE past_request (series INTEGER, status TEXT, hour INTEGER, stands INTEGER,
    amount INTEGER);
CREATE TEMP TABLE past_token (series INTEGER, token_class TEXT, hour INTEGER, stands INTEGER,
    amount INTEGER);
"""


#: The label model of a rollup.
MODEL_OR_NONE = "model_or_none"


class Changes(NamedTuple):
    """One series: its label values, and (hour in ms, amount) in the order of time."""

    labels: tuple[str, ...]
    changes: list[tuple[int, int]]


class Past:
    """A ledger up to `until_ms`; in a read transaction of a connection that is closed after it."""

    def __init__(self, connection: Connection, cell_ms: int, until_ms: int) -> None:
        self._connection = connection
        self._until_ms = until_ms
        for statement in _TABLES.split(";"):
            connection.execute(statement)
        self._map()
        self._remember_history(cell_ms)
        self._add_up()

    def first_ms(self) -> int | None:
        """The first hour with anything in it; None for an empty ledger."""
        row = self._connection.execute(
            "SELECT min(hour) FROM (SELECT hour FROM past_cost UNION ALL "
            "SELECT hour FROM past_request) WHERE hour < ?",
            (self._until_ms,),
        ).fetchone()
        return None if row[0] is None else int(row[0])

    def cost(
        self, measure: str, by: Sequence[str], *, counted: bool, step_ms: int = 1
    ) -> Iterator[Changes]:
        """Series of spend; `measure` is up, down or net.

        With `counted` only what live counters do not show after the end; gauges hold all.
        Of a `step_ms` all hours are moved into its last one.
        """
        amount = "up - down" if measure == "net" else measure
        where = f"stands = {_BEFORE}" if counted else "hour < :until"
        return self._series("past_cost", by, amount, where, step_ms)

    def requests(self, by: Sequence[str], *, step_ms: int = 1) -> Iterator[Changes]:
        return self._series("past_request", by, "amount", f"stands = {_BEFORE}", step_ms)

    def tokens(self, by: Sequence[str], *, step_ms: int = 1) -> Iterator[Changes]:
        return self._series("past_token", by, "amount", f"stands = {_BEFORE}", step_ms)

    def ends(self, family: str, measure: str, by: Sequence[str]) -> dict[tuple[str, ...], int]:
        """Where live counters stood at the end: what they show less what came after it."""
        table = _TABLE_OF[family]
        later: dict[tuple[str, ...], int] = {}
        for labels, changes in self._series(table, by, measure, f"stands = {_AFTER}", 1):
            later[labels] = sum(amount for _, amount in changes if amount > 0)
        return {
            labels: max(shown - later.get(labels, 0), 0)
            for labels, shown in self._live(family).items()
        }

    def _live(self, family: str) -> dict[tuple[str, ...], int]:
        """What the counters of a family show now."""
        clock_ms = int(self._meta("release_clock"))
        pending: dict[int, int] = {}
        for series, *release in self._connection.execute(
            "SELECT series, amount, from_ms, until_ms FROM release WHERE until_ms > ?", (clock_ms,)
        ):
            pending[series] = pending.get(series, 0) + Release(*release).pending(clock_ms)
        return {
            tuple(msgspec.json.decode(labels)): 0
            if clock_ms < hold_until_ms
            else value - pending.get(series, 0)
            for series, labels, value, hold_until_ms in self._connection.execute(
                "SELECT series, labels, value, hold_until FROM series WHERE family = ?", (family,)
            )
        }

    def _series(
        self, table: str, by: Sequence[str], amount: str, where: str, step_ms: int
    ) -> Iterator[Changes]:
        # Models without a name are `none` in the rollups, as the rules call them.
        columns = ", ".join(
            "iif(model = '', 'none', model)" if name == MODEL_OR_NONE else name for name in by
        )
        places = ", ".join(str(place + 1) for place in range(len(by) + 1))
        rows = self._connection.execute(
            f"SELECT {columns}{', ' if by else ''}"
            "hour - hour % :step + :last AS at, "
            f"sum({amount}) FROM {table} JOIN past_label USING (series) "
            f"WHERE {where} GROUP BY {places} HAVING sum({amount}) != 0 ORDER BY {places}",
            {
                "until": self._until_ms,
                "step": step_ms,
                "last": max(step_ms - MS_PER_HOUR, 0),
            },
        )
        width = len(by)
        for labels, found in groupby(rows, key=lambda row: row[:width]):
            yield Changes(tuple(labels), [(int(row[width]), int(row[-1])) for row in found])

    def _map(self) -> None:
        """Which series each label tuple was exported under on each booking day."""
        admission = Admission(self._connection, Limits(), admitting=False)
        dims = {
            number: Labels(*row)
            for number, *row in self._connection.execute(
                f"SELECT dim, {', '.join(Labels._fields)} FROM dim"
            )
        }
        numbers: dict[tuple[str, ...], int] = {}
        for dim, booked in self._connection.execute(
            "SELECT DISTINCT dim, booked FROM cell"
        ).fetchall():
            exported = admission.exported(dims[dim], booked)
            number = numbers.setdefault(exported, len(numbers))
            self._connection.execute(
                "INSERT INTO past_shown VALUES (?, ?, ?)", (dim, booked, number)
            )
        self._connection.executemany(
            f"INSERT INTO past_label (series, {', '.join(EXPORTED)}) "
            f"VALUES ({', '.join('?' * (len(EXPORTED) + 1))})",
            [(number, *exported) for exported, number in numbers.items()],
        )

    def _remember_history(self, cell_ms: int) -> None:
        """Cells from before the ledger: no counter ever shows them, whenever they came."""
        if self._until_ms > int(self._meta("release_clock")):
            return  # everything that was booked stands before the end
        self._connection.execute(
            "INSERT OR IGNORE INTO past_history "
            "SELECT dim, at_ms - at_ms % :cell FROM usage_event WHERE feed = :feed "
            "UNION SELECT c.dim, e.at_ms - e.at_ms % :cell FROM event_change AS c "
            "JOIN usage_event AS e USING (event) WHERE e.feed = :feed "
            "UNION SELECT dim, hour FROM posting WHERE history = 1",
            {"cell": cell_ms, "feed": HISTORY_FEED},
        )

    def _add_up(self) -> None:
        values = {"until": self._until_ms, "day": (self._until_ms - 1) // MS_PER_DAY}
        history = (
            "EXISTS (SELECT 1 FROM past_history AS h WHERE h.dim = cell.dim AND h.hour = cell.hour)"
        )
        stands = (
            f"CASE WHEN hour >= :until THEN iif({history}, {_NEVER}, {_AFTER}) "
            f"WHEN booked > :day AND NOT {history} THEN {_AFTER} ELSE {_BEFORE} END"
        )
        cells = "FROM cell JOIN past_shown USING (dim, booked)"
        calls = f"{cells} JOIN past_label USING (series)"
        api = "past_label.category = 'llm_api'"
        classes = ", ".join(f"'{name}'" for name in TOKEN_CLASSES)
        self._connection.execute(
            f"INSERT INTO past_cost SELECT series, hour, {stands} AS stands, sum(up), sum(down) "
            f"{cells} GROUP BY series, hour, stands HAVING sum(up) OR sum(down)",
            values,
        )
        self._connection.execute(
            f"INSERT INTO past_request SELECT series, status, hour, {stands} AS stands, "
            f"sum(requests) {calls} WHERE {api} AND requests != 0 "
            "GROUP BY series, status, hour, stands",
            values,
        )
        self._connection.execute(
            f"INSERT INTO past_token SELECT series, j.key, hour, {stands} AS stands, "
            f"sum(j.value) {calls} CROSS JOIN json_each(cell.quantities) AS j "
            f"WHERE {api} AND j.key IN ({classes}) GROUP BY series, j.key, hour, stands",
            values,
        )

    def _meta(self, key: str) -> str:
        row = self._connection.execute("SELECT v FROM meta WHERE k = ?", (key,)).fetchone()
        return str(row[0])


#: Where the amounts of a counter family stand.
_TABLE_OF = {
    "llm_cost_total": "past_cost",
    "llm_cost_credit_total": "past_cost",
    "llm_requests_total": "past_request",
    "llm_tokens_total": "past_token",
}
