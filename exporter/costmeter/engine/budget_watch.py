"""Follows the ledger and keeps every budget's standing, for metrics, alerts and questions.

Reads what moved since the last look, so a million budgets cost what their postings cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from sqlite3 import Connection

from costmeter.analysis.budgets import (
    EXPORTED_FIRST,
    EXPORTED_WORST,
    RATE_WINDOW_MS,
    BudgetStatus,
    Plans,
    Standing,
    assess,
)
from costmeter.analysis.budgets.board import Board
from costmeter.engine import budget_extras as extras
from costmeter.ledger import budget_reads as reads
from costmeter.ledger.history import BudgetSpend
from costmeter.ledger.store import transaction_for_reading
from costmeter.model import MS_PER_DAY, Budget
from costmeter.pricing.exchange import USD, Exchange

#: Days whose spend says how much the daily rate varies.
_DAYS = 7
_ONE_TIME_EVERY_MS = 600_000


class BudgetWatch:
    """Used by one thread; `refresh` first, then the questions."""

    def __init__(
        self,
        connection: Connection,
        exchange: Callable[[], Exchange],
        *,
        only: Sequence[str] | None = None,
    ) -> None:
        """With `only` it watches the budgets of these names, and looks once."""
        self._connection = connection
        self._only = only
        self._exchange = exchange
        self._rates: tuple[Exchange, int] | None = None
        self.board = Board()
        self._revision = -1
        self.now_ms = 0
        self._since_ms = 0
        self._first: list[int] = []
        self._special: dict[int, Budget] = {}
        """Those with plans, with rollover or in another currency."""
        self._budgets: dict[int, Budget] = {}
        self._one_time_ms = 0
        self._carried: dict[int, int] = {}

    def refresh(self, now_ms: int) -> None:
        """Take in what was committed, and what time changed. Raises sqlite3.Error."""
        with transaction_for_reading(self._connection):
            revision = reads.revision(self._connection)
            now_ms = max(now_ms, self.now_ms)
            if not reads.follows(revision, self._revision) or self._revision < 0:
                self._load(now_ms)
            else:
                self._follow(revision, now_ms)
            self._revision, self.now_ms = revision, now_ms
            self._apart(now_ms)
            self.board.judge_touched(now_ms)

    def exported(self) -> list[int]:
        """Numbers of the budgets that are exported: the first, and the worst of the rest."""
        first = [number for number in self._first if self.board.has(number)]
        return [*first, *self.board.worst(EXPORTED_WORST, set(first))]

    def statuses(self, numbers: Iterable[int], *, days: bool = False) -> list[BudgetStatus]:
        """Where budgets stand; those without a period now, or without a limit in USD, are left
        out. With `days` each has intervals, which reads a week of each one's hours.
        """
        wanted = list(numbers)
        missing = [number for number in wanted if number not in self._budgets]
        if len(self._budgets) > 4 * (EXPORTED_FIRST + EXPORTED_WORST):
            self._budgets.clear()
            missing = wanted
        self._budgets.update(reads.numbered(self._connection, missing))
        found = []
        for number in wanted:
            status = self._status(number, self._budgets[number], days=days)
            if status is not None:
                found.append(status)
        return found

    def number_of(self, name: str) -> int | None:
        """The number of a budget that is watched."""
        row = reads.named(self._connection, name)
        return row.number if row is not None and self.board.has(row.number) else None

    def _status(self, number: int, budget: Budget, *, days: bool) -> BudgetStatus | None:
        board = self.board
        if not board.has(number) or board.limit[number] < 0 or not board.period(number)[1]:
            return None
        first = board.first[number]
        figures = BudgetSpend(
            board.spent[number], board.recent(number), None if first >= 1 << 62 else first
        )
        standing = Standing(
            limit=board.limit[number],
            carried=self._carried.get(number, 0),
            once=board.once.get(number, 0),
            plans=self._plans(number, budget, self.now_ms) if budget.planned else Plans(),
            expected=board.expected.get(number),
            days=self._days(number, figures.first_ms) if days else (),
        )
        return assess(budget, figures, self.now_ms, standing)

    def _load(self, now_ms: int) -> None:
        connection = self._connection
        board = self.board = Board(reads.cell_width(connection))
        for known in (self._special, self._budgets, self._carried):
            known.clear()
        self._since_ms = now_ms - RATE_WINDOW_MS
        if self._only is not None:
            for row in filter(None, (reads.named(connection, name) for name in self._only)):
                if row.active:
                    self._place(row.number, row.budget, now_ms)
                    self._fill(row.number, self._since_ms)
            self._limits(self._special, now_ms)
            self._one_time(now_ms)
            return
        place, first = board.place, board.first
        for number, cut, said, budget, hour in reads.outlines(connection):
            place(
                number, cut, said.limit_nano, said.warning_permille, said.critical_permille, now_ms
            )
            if hour is not None:
                first[number] = hour
            if budget is not None:
                self._special[number] = budget
        starts = [group.start_ms for group in board.groups if group.end_ms]
        board.fill_all(
            reads.recent_hours(connection, self._since_ms),
            reads.spent_since(connection, min(starts, default=now_ms)),
        )
        self._first = reads.first_by_position(connection, EXPORTED_FIRST)
        self._limits(self._special, now_ms)
        self._one_time(now_ms)

    def _follow(self, revision: int, now_ms: int) -> None:
        connection, board = self._connection, self.board
        redefined = reads.redefined(connection, self._revision)
        fresh = {row.number for row in redefined}
        rows = reads.moved(connection, self._revision, revision)
        past = board.add((row for row in rows if row[0] not in fresh), now_ms)
        since_ms = now_ms - RATE_WINDOW_MS
        if since_ms > self._since_ms:
            gone = reads.hours_between(connection, self._since_ms, since_ms)
            board.expire((number, net) for number, net in gone if number not in fresh)
            # What was booked just now in an hour that leaves is in the table, and not added.
            board.expire(
                (number, -net)
                for number, hour, net in reads.moved(connection, self._revision, revision)
                if self._since_ms <= hour < since_ms and number not in fresh
            )
            self._since_ms = since_ms
        for group in board.renewed(now_ms):
            for number in group.members:
                board.refill(number, reads.spent_in_period(connection, number, group.start_ms))
            self._limits(group.members & self._special.keys(), now_ms)
        for row in redefined:
            self._budgets.pop(row.number, None)
            self._special.pop(row.number, None)
            self._carried.pop(row.number, None)
            if not row.active:
                board.remove(row.number)
                continue
            self._place(row.number, row.budget, now_ms)
            self._fill(row.number, since_ms)
        if redefined:
            self._first = reads.first_by_position(connection, EXPORTED_FIRST)
        self._limits({number for number in (*past, *fresh) if number in self._special}, now_ms)
        if now_ms - self._one_time_ms >= _ONE_TIME_EVERY_MS or redefined:
            self._one_time(now_ms)

    def _place(self, number: int, budget: Budget, now_ms: int) -> None:
        self.board.place(
            number, budget.cut, budget.limit_nano, budget.warning_permille,
            budget.critical_permille, now_ms,
        )  # fmt: skip
        if budget.planned or budget.rollover or budget.currency != USD:
            self._special[number] = budget

    def _fill(self, number: int, since_ms: int) -> None:
        connection, board = self._connection, self.board
        start_ms, end_ms = board.period(number)
        board.fill(
            number,
            spent=reads.spent_in_period(connection, number, start_ms) if end_ms else 0,
            recent=reads.spent_between(connection, number, since_ms, 1 << 62),
            first_ms=reads.first_hour(connection, number),
        )

    def _limits(self, numbers: Iterable[int], now_ms: int) -> None:
        """Limits that are not just those of the definition: carried over, or converted."""
        exchange, day = self._exchange(), now_ms // MS_PER_DAY
        for number in list(numbers):
            budget, board = self._special[number], self.board
            limit: int | None = budget.limit_nano
            if budget.currency != USD:
                limit = exchange.nano(budget.limit_nano, budget.currency, day)
            elif budget.rollover and board.period(number)[1]:
                start_ms = board.period(number)[0]
                carried = reads.carried(self._connection, number, budget, start_ms)
                self._carried[number] = carried
                limit = budget.limit_nano + carried
            board.limit[number] = -1 if limit is None else limit
            board.touched.add(number)

    def _apart(self, now_ms: int) -> None:
        """What is looked at each time: rates of exchange, plans and stored forecasts."""
        exchange, day = self._exchange(), now_ms // MS_PER_DAY
        if self._rates != (exchange, day):
            self._rates = (exchange, day)
            foreign = [n for n, budget in self._special.items() if budget.currency != USD]
            self._limits(foreign, now_ms)
        board = self.board
        for number, budget in self._special.items():
            if budget.planned and board.has(number) and board.period(number)[1]:
                found = self._plans(number, budget, now_ms)
                board.planned[number] = (found.left, found.in_rate)
                board.touched.add(number)
        expected = extras.expected(self._connection, board, now_ms)
        board.touched.update(board.expected.keys() ^ expected.keys())
        board.touched.update(n for n, one in expected.items() if board.expected.get(n) != one)
        board.expected = expected

    def _one_time(self, now_ms: int) -> None:
        """One-time charges of the recent days, by the budgets that they belong to."""
        self._one_time_ms = now_ms
        once = extras.one_time(self._connection, now_ms - RATE_WINDOW_MS)
        self.board.touched.update(self.board.once.keys() | once.keys())
        self.board.once = once

    def _plans(self, number: int, budget: Budget, now_ms: int) -> Plans:
        period = self.board.period(number)
        return extras.planned(self._connection, self._exchange(), number, budget, period, now_ms)

    def _days(self, number: int, first_ms: int | None) -> list[int]:
        """Net spend of each of the last days of 24 hours, newest first; whole ones only."""
        found = []
        for back in range(_DAYS):
            until_ms = self.now_ms - back * MS_PER_DAY
            if first_ms is None or until_ms - MS_PER_DAY < first_ms:
                break
            found.append(
                reads.spent_between(self._connection, number, until_ms - MS_PER_DAY, until_ms)
            )
        return found
