"""Budgets as they are defined: every revision is kept, and what stands now beside it.

A budget that is new, or counts something else than before, is filled from the ledger: what
was spent before is in its gauges at once, and its counter's opening balance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from sqlite3 import Connection
from typing import NamedTuple

import msgspec

from costmeter.ledger import budget_fill
from costmeter.ledger.budgets import BudgetBook, shape_of
from costmeter.model import Budget

#: Of many budgets, so many have a counter by their position; others get one when they are
#: exported for the first time.
COUNTED_FIRST = 2_000
CONFIG, LIBRARY = "config", "library"
#: Budgets of the library stand behind all those of the configuration.
_BEHIND = 1_000_000_000
_FAMILY = "llm_budget_cost_total"
_DEFAULTS = msgspec.to_builtins(Budget("", 0))
_decode = msgspec.json.Decoder(Budget).decode


class BudgetError(ValueError):
    """A budget that cannot be; the text says why, for whoever asked for it."""


class Known(NamedTuple):
    number: int
    rev: int
    source: str
    position: int
    active: bool
    cut: str
    budget: Budget


class Moment(NamedTuple):
    """Of the transaction: its revision, its time, and until when a new counter is held."""

    revision: int
    now_ms: int
    hold_until_ms: int
    cell_ms: int


class BudgetStore:
    """Used inside the write transaction only; nothing may wait for a flush."""

    def __init__(self, connection: Connection, book: BudgetBook) -> None:
        self._connection = connection
        self._book = book

    def configure(self, budgets: Sequence[Budget], moment: Moment) -> None:
        """Make these the budgets of the configuration; those of the library stay."""
        wanted = {budget.name for budget in budgets}
        gone = [
            name
            for (name,) in self._connection.execute(
                "SELECT name FROM budget_now WHERE source = ? AND active", (CONFIG,)
            )
            if name not in wanted
        ]
        self._take_out(gone, moment)
        self._put([(budget, place) for place, budget in enumerate(budgets)], CONFIG, moment)

    def create(self, budgets: Sequence[Budget], moment: Moment) -> None:
        """Add budgets. Raises BudgetError when one of that name is active."""
        for budget in budgets:
            known = self.known(budget.name)
            if known is not None and known.active:
                raise BudgetError(f"a budget {budget.name!r} exists; change it, or name another")
        self._put([(budget, None) for budget in budgets], LIBRARY, moment)

    def change(self, budget: Budget, moment: Moment) -> None:
        """Give a budget another definition. Raises BudgetError."""
        known = self._of_library(budget.name)
        self._put([(budget, known.position)], LIBRARY, moment)

    def remove(self, name: str, moment: Moment) -> None:
        """Watch a budget no more; its past is kept. Raises BudgetError."""
        self._of_library(name)
        self._take_out([name], moment)

    def known(self, name: str) -> Known | None:
        """A budget by its name, also one that was removed."""
        row = self._connection.execute(
            "SELECT number, budget_now.rev, source, budget_now.position, budget_now.active, cut, "
            "definition FROM budget_now JOIN budget USING (name, rev) WHERE name = ?",
            (name,),
        ).fetchone()
        if row is None:
            return None
        number, rev, source, position, active, cut, definition = row
        return Known(number, rev, source, position, bool(active), cut, _decode(definition))

    def count(self, numbers: Iterable[int], moment: Moment) -> None:
        """Give these budgets counters, held at zero like every new series."""
        fresh = [
            number
            for number in numbers
            if self._connection.execute(
                "UPDATE budget_now SET counted = 1 WHERE number = ? AND NOT counted AND active",
                (number,),
            ).rowcount
        ]
        if fresh:
            self._open(fresh, moment)
            self._book.reread()

    def _of_library(self, name: str) -> Known:
        known = self.known(name)
        if known is None or not known.active:
            raise BudgetError(f"there is no budget {name!r}")
        if known.source == CONFIG:
            raise BudgetError(f"budget {name!r} is in the configuration file; change it there")
        return known

    def _take_out(self, names: Sequence[str], moment: Moment) -> None:
        for name in names:
            known = self.known(name)
            if known is None:
                continue
            self._connection.execute(
                "INSERT INTO budget SELECT name, rev + 1, position, definition, 0, ? FROM budget "
                "WHERE name = ? AND rev = ?",
                (moment.now_ms, name, known.rev),
            )
            self._connection.execute(
                "UPDATE budget_now SET rev = rev + 1, active = 0, changed = ? WHERE name = ?",
                (moment.revision, name),
            )
            self._connection.execute("DELETE FROM budget_key WHERE number = ?", (known.number,))
        if names:
            self._book.reread()

    def _put(
        self, wanted: Sequence[tuple[Budget, int | None]], source: str, moment: Moment
    ) -> None:
        refill: dict[int, Budget] = {}
        recut: dict[int, Budget] = {}
        reopen: list[int] = []
        for budget, place in wanted:
            known = self.known(budget.name)
            position = place if place is not None else known.position if known else _BEHIND
            if known is not None and known.active and known.cut and known.budget == budget:
                if (known.position, known.source) != (position, source):
                    self._stand(known.number, known.rev, source, position, known.cut, moment)
                continue
            cut = msgspec.json.encode(budget.cut).decode()
            same = known is not None and known.active and known.budget == budget
            if known is None:
                self._revise(budget, 1, position, moment)
                number = self._born(budget.name, source, position, cut, moment)
            else:
                number = known.number
                if not same:
                    self._revise(budget, known.rev + 1, position, moment)
                rev = known.rev + (not same)
                self._stand(number, rev, source, position, cut, moment)
                self._connection.execute("DELETE FROM budget_key WHERE number = ?", (number,))
            self._connection.execute(
                "INSERT INTO budget_key VALUES (?, ?, ?)", (*shape_of(budget.match), number)
            )
            counts = known is not None and known.active and known.cut
            if known is None or not counts or known.budget.match != budget.match:
                refill[number] = budget
                reopen.append(number)
            elif known.cut != cut:
                recut[number] = budget
            if known is not None and known.budget.series_labels != budget.series_labels:
                reopen.append(number)
        self._book.reread()
        if refill:
            budget_fill.from_ledger(self._connection, self._book, refill, moment.cell_ms)
        budget_fill.periods(self._connection, {**recut, **refill})
        self._count_first(reopen, moment)

    def _born(self, name: str, source: str, position: int, cut: str, moment: Moment) -> int:
        cursor = self._connection.execute(
            "INSERT INTO budget_now (name, rev, source, position, active, counted, cut, changed) "
            "VALUES (?, 1, ?, ?, 1, 0, ?, ?)",
            (name, source, position, cut, moment.revision),
        )
        number = int(cursor.lastrowid or 0)
        if position == _BEHIND:
            self._connection.execute(
                "UPDATE budget_now SET position = position + number WHERE number = ?", (number,)
            )
        return number

    def _stand(
        self, number: int, rev: int, source: str, position: int, cut: str, moment: Moment
    ) -> None:
        self._connection.execute(
            "UPDATE budget_now SET rev = ?, source = ?, position = ?, active = 1, cut = ?, "
            "changed = ? WHERE number = ?",
            (rev, source, position, cut, moment.revision, number),
        )

    def _revise(self, budget: Budget, rev: int, position: int, moment: Moment) -> None:
        self._connection.execute(
            "INSERT INTO budget VALUES (?, ?, ?, ?, 1, ?)",
            (budget.name, rev, position, encoded(budget), moment.now_ms),
        )

    def _count_first(self, reopen: Sequence[int], moment: Moment) -> None:
        self.count(
            [
                number
                for number, counted in self._connection.execute(
                    "SELECT number, counted FROM budget_now WHERE active ORDER BY position LIMIT ?",
                    (COUNTED_FIRST,),
                ).fetchall()
                if not counted
            ],
            moment,
        )
        self.reopen(reopen, moment)

    def reopen(self, numbers: Iterable[int], moment: Moment) -> None:
        """Let the counters of those that have one go on from where they stand."""
        self._open(
            [
                number
                for number in dict.fromkeys(numbers)
                if self._connection.execute(
                    "SELECT 1 FROM budget_now WHERE number = ? AND counted", (number,)
                ).fetchone()
            ],
            moment,
        )

    def _open(self, numbers: Sequence[int], moment: Moment) -> None:
        """Set counters' opening balances, so that each goes on from where it stands."""
        for number in numbers:
            net, definition = self._connection.execute(
                "SELECT (SELECT coalesce(sum(net), 0) FROM budget_net WHERE number = :number), "
                "definition FROM budget_now JOIN budget USING (name, rev) WHERE number = :number",
                {"number": number},
            ).fetchone()
            labels = msgspec.json.encode(_decode(definition).series_labels).decode()
            self._connection.execute(
                "INSERT INTO series (family, labels, value, opening, hold_until, rev) "
                "VALUES (?, ?, 0, 0, ?, ?) ON CONFLICT DO UPDATE SET rev = excluded.rev",
                (_FAMILY, labels, moment.hold_until_ms, moment.revision),
            )
            self._connection.execute(
                "UPDATE series SET opening = value - ? WHERE family = ? AND labels = ?",
                (net, _FAMILY, labels),
            )


def encoded(budget: Budget) -> str:
    """A definition as text: only what is not the default, for there may be a million."""
    said = msgspec.to_builtins(budget)
    kept = {key: value for key, value in said.items() if value != _DEFAULTS[key]}
    return msgspec.json.encode({"name": "", "limit_nano": 0, **kept}).decode()
