"""What is booked against each budget: net spend by hour and by period, as postings arrive.

A posting finds its budgets by the combinations of label values that budgets name, in the
table `budget_key`; how many other budgets there are makes no difference to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection
from typing import NamedTuple

import msgspec

from costmeter.ledger.budget_periods import Periods, periods_of
from costmeter.model import Budget, Cut, Labels

#: So many label tuples, and so many of them with a user, are remembered with their budgets.
_REMEMBERED = 100_000
#: Of budget_change this many revisions are kept, and tidied up after so many.
KEPT_REVISIONS = 4_096
_TIDY_EVERY = 512
_SEPARATOR = "\x1f"
_decode = msgspec.json.Decoder(Budget).decode


class Covering(NamedTuple):
    """The budgets that a posting belongs to, and the labels of the counters among them."""

    numbers: tuple[int, ...]
    series: tuple[tuple[str, str, str], ...]


def shape_of(match: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """The names and the values of a match, as budget_key has them."""
    pairs = sorted(match)
    return (
        _SEPARATOR.join(name for name, _ in pairs),
        _SEPARATOR.join(value for _, value in pairs),
    )


class BudgetBook:
    """Used inside the write transaction only."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._shapes: list[tuple[str, tuple[str, ...]]] | None = None
        self._user_shapes: list[tuple[str, tuple[str, ...]]] = []
        self._covering: dict[Labels, Covering] = {}
        self._covering_user: dict[tuple[Labels, str], Covering] = {}
        self._hours: dict[int, dict[int, int]] = {}
        """Net spend by hour and by budget that is to be written."""
        self._periods: dict[int, Periods] = {}
        self._periods_of_cut: dict[str, Periods] = {}

    def forget(self) -> None:
        """Drop what the rolled back transaction gathered, and the budgets it configured."""
        self._hours.clear()
        self.reread()

    def reread(self) -> None:
        """Ask the tables again: budgets came, went or changed."""
        self._shapes = None
        self._covering.clear()
        self._covering_user.clear()

    def book(self, labels: Labels, hour_ms: int, net: int) -> Sequence[tuple[str, str, str]]:
        """Add net spend to every budget that covers it; labels of the counters that move."""
        covering = self._covering.get(labels)
        if covering is None:
            if len(self._covering) > _REMEMBERED:
                self._covering.clear()
            covering = self._covering[labels] = self.covering(labels)
        return self._add(covering, hour_ms, net)

    def book_user(
        self, labels: Labels, user_id: str, hour_ms: int, net: int
    ) -> Sequence[tuple[str, str, str]]:
        """The same for the budgets of one user, from what their calls cost."""
        if self._shapes is None:
            self._read_shapes()
        if not self._user_shapes:
            return ()
        covering = self._covering_user.get((labels, user_id))
        if covering is None:
            if len(self._covering_user) > _REMEMBERED:
                self._covering_user.clear()
            covering = self.covering(labels, user_id)
            self._covering_user[(labels, user_id)] = covering
        return self._add(covering, hour_ms, net)

    def covering(self, labels: Labels, user_id: str | None = None) -> Covering:
        """Budgets of these labels: those of no user, or those of `user_id`."""
        if self._shapes is None:
            self._read_shapes()
        said = labels._asdict()
        if user_id is not None:
            said["user_id"] = user_id
        numbers, series = [], []
        for shape, names in (self._shapes or ()) if user_id is None else self._user_shapes:
            value = _SEPARATOR.join([said[name] for name in names])
            # Only a counter's labels need the definition: of a million budgets few have one.
            for number, cut, definition in self._connection.execute(
                "SELECT number, cut, CASE WHEN counted THEN (SELECT definition FROM budget "
                "WHERE budget.name = budget_now.name AND budget.rev = budget_now.rev) END "
                "FROM budget_key JOIN budget_now USING (number) WHERE shape = ? AND value = ? "
                "AND active",
                (shape, value),
            ).fetchall():
                self._periods[number] = self._periods_of(cut)
                numbers.append(number)
                if definition is not None:
                    series.append(_decode(definition).series_labels)
        return Covering(tuple(numbers), tuple(series))

    def _periods_of(self, cut: str) -> Periods:
        found = self._periods_of_cut.get(cut)
        if found is None:
            found = self._periods_of_cut[cut] = periods_of(msgspec.json.decode(cut, type=Cut))
        return found

    @property
    def active(self) -> tuple[Budget, ...]:
        """The active budgets, in the order of their configuration."""
        return tuple(
            _decode(row[0])
            for row in self._connection.execute(
                "SELECT definition FROM budget_now JOIN budget USING (name, rev) "
                "WHERE budget_now.active ORDER BY budget_now.position"
            )
        )

    def flush(self, revision: int) -> None:
        if revision % _TIDY_EVERY == 0:
            self._connection.execute(
                "DELETE FROM budget_change WHERE rev < ?", (revision - KEPT_REVISIONS,)
            )
        if not self._hours:
            return
        rows: list[tuple[int, int, int]] = []
        periods: dict[tuple[int, int], int] = {}
        for hour, sums in self._hours.items():
            for number, net in sums.items():
                rows.append((number, hour, net))
                found = self._periods[number].of(hour)
                if found is not None:
                    key = (number, found[0])
                    periods[key] = periods.get(key, 0) + net
        self._connection.executemany(
            "INSERT INTO budget_net VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET net = net + excluded.net",
            rows,
        )
        self._connection.executemany(
            "INSERT INTO budget_change VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET net = net + excluded.net",
            [(revision, *row) for row in rows],
        )
        self._connection.executemany(
            "INSERT INTO budget_period VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET net = net + excluded.net",
            [(*key, net) for key, net in periods.items()],
        )
        self._hours.clear()

    def _add(self, covering: Covering, hour_ms: int, net: int) -> Sequence[tuple[str, str, str]]:
        if covering.numbers:
            sums = self._hours.get(hour_ms)
            if sums is None:
                sums = self._hours[hour_ms] = {}
            for number in covering.numbers:
                sums[number] = sums.get(number, 0) + net
        return covering.series

    def _read_shapes(self) -> None:
        plain: list[tuple[str, tuple[str, ...]]] = []
        user: list[tuple[str, tuple[str, ...]]] = []
        # A step from shape to shape: there are few of them, and maybe a million budgets.
        shape = self._connection.execute("SELECT min(shape) FROM budget_key").fetchone()[0]
        while shape is not None:
            names = tuple(shape.split(_SEPARATOR)) if shape else ()
            (user if "user_id" in names else plain).append((shape, names))
            shape = self._connection.execute(
                "SELECT min(shape) FROM budget_key WHERE shape > ?", (shape,)
            ).fetchone()[0]
        self._shapes, self._user_shapes = plain, user
