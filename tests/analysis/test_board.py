"""The board of all budgets: what is passed over as unimportant must not have been important."""

from __future__ import annotations

import random

import pytest

from costmeter.analysis.budgets.board import PROJECTED, Board
from costmeter.analysis.budgets.status import RATE_WINDOW_MS, Expected
from costmeter.model import MS_PER_DAY, MS_PER_HOUR, Cut

CUTS = (Cut("hour"), Cut("day"), Cut("week"), Cut("month", "Europe/Berlin"),
        Cut("custom", "UTC", 0, "2025-10-27", "2025-10-29"))  # fmt: skip
#: Two days before the clocks of Europe change and a week before a month ends.
BEGIN = 1_761_264_000_000
NUMBERS = 40


class Books:
    """Every amount, and a board that follows them; `plain` is one that looks at all anew."""

    def __init__(self, dice: random.Random) -> None:
        self.dice, self.now = dice, BEGIN
        self.rows: list[tuple[int, int, int]] = []
        self.limits = [dice.choice((-1, 0, 7, 1_000, 50_000)) for _ in range(NUMBERS)]
        self.board = self.placed()

    def placed(self) -> Board:
        board = Board()
        for number, limit in enumerate(self.limits):
            board.place(number, CUTS[number % len(CUTS)], limit, 800, 950, self.now)
        return board

    def sums(self, board: Board, number: int) -> tuple[int, int, int | None]:
        start, end = board.period(number)
        own = [(hour, net) for of, hour, net in self.rows if of == number]
        return (
            sum(net for hour, net in own if start <= hour < end),
            sum(net for hour, net in own if hour >= self.now - RATE_WINDOW_MS),
            min((hour for hour, _ in own), default=None),
        )

    def plain(self) -> Board:
        board = self.placed()
        for number in range(NUMBERS):
            spent, recent, first = self.sums(board, number)
            board.fill(number, spent=spent, recent=recent, first_ms=first)
        board.expected, board.once = dict(self.board.expected), dict(self.board.once)
        board.planned = dict(self.board.planned)
        board.judge(list(range(NUMBERS)), self.now)
        return board

    def post(self) -> None:
        now, dice = self.now, self.dice
        rows = []
        for _ in range(dice.randrange(1, 30)):
            back = dice.choice((0, 0, 0, 0, 1, 5, 100, 200, 800)) * MS_PER_HOUR
            amount = dice.choice((0, 1, 5, 40, 300, 2_000, -3, -500))
            rows.append((dice.randrange(NUMBERS), now - now % MS_PER_HOUR - back, amount))
        self.rows += rows
        self.board.add(rows, now)

    def wait(self) -> None:
        before = self.now - RATE_WINDOW_MS
        self.now += self.dice.choice((1, 30, 60, 700, 5_000)) * 60_000
        since = self.now - RATE_WINDOW_MS
        self.board.expire([(of, net) for of, hour, net in self.rows if before <= hour < since])
        for group in self.board.renewed(self.now):
            for number in group.members:
                self.board.refill(number, self.sums(self.board, number)[0])

    def change(self) -> None:
        number, board, dice = self.dice.randrange(NUMBERS), self.board, self.dice
        kind = dice.randrange(5)
        if kind == 0:
            self.limits[number] = board.limit[number] = dice.choice((-1, 0, 500, 90_000))
        elif kind == 1:
            board.expected[number] = Expected(dice.randrange(60_000), 0, 0)
        elif kind == 2:
            board.expected.pop(number, None)
        elif kind == 3:
            board.once = {number: dice.randrange(-50, 400)}
            board.touched.update(range(NUMBERS))
        else:
            board.planned[number] = (dice.randrange(500), dice.randrange(100))
        board.touched.add(number)


@pytest.mark.parametrize("seed", range(8))
def test_what_was_passed_over_was_not_important(seed: int) -> None:
    books = Books(random.Random(seed))
    for step in range(80):
        books.dice.choice((books.post, books.post, books.post, books.wait, books.change))()
        books.board.judge_touched(books.now)
        plain = books.plain()
        board = books.board
        assert bytes(board.loudness) == bytes(plain.loudness), step
        assert board.loud == plain.loud
        for number in range(NUMBERS):
            assert (board.spent[number], board.recent(number)) == (
                plain.spent[number], plain.recent(number)
            )  # fmt: skip
            assert board.first[number] == plain.first[number]
        beside = {0, 1, 2}
        worst = sorted(set(range(NUMBERS)) - beside, key=lambda n: (-plain.ratio(n), n))
        assert board.worst(5, beside) == worst[:5]


def test_most_postings_are_not_judged() -> None:
    board = Board()
    for number in range(3):
        board.place(number, Cut("month"), 10_000, 800, 950, BEGIN)
        board.fill(number, spent=100, recent=100, first_ms=BEGIN - 9 * MS_PER_DAY)
    board.judge_touched(BEGIN)
    board.add([(0, BEGIN, 100), (1, BEGIN, -100), (2, BEGIN, 7_800)], BEGIN)
    assert board.touched == {1, 2}, "a credit, and what may bring the projection over the limit"
    board.judge_touched(BEGIN)
    assert list(board.loudness[:3]) == [0, 0, PROJECTED]
    board.add([(0, BEGIN - MS_PER_HOUR, 1)], BEGIN)
    assert board.touched == {0}, "what is late may be the first spend there is"


def test_of_very_many_the_worst_are_found_when_all_move_at_once() -> None:
    dice, board = random.Random(1), Board()
    board.place(30_000, Cut("month"), 1, 800, 950, BEGIN)
    for number in range(30_000):
        board.place(number, Cut("month"), 1_000, 800, 950, BEGIN)
        board.fill(number, spent=dice.randrange(600), recent=0, first_ms=BEGIN)
    board.judge_touched(BEGIN)
    for _ in range(3):
        rows = [(dice.randrange(30_000), BEGIN, dice.randrange(200)) for _ in range(2_000)]
        board.add(rows, BEGIN)
        board.judge_touched(BEGIN)
        ratios = sorted((board.ratio(number) for number in range(30_001)), reverse=True)
        found = board.worst(500, set())
        assert [board.ratio(number) for number in found] == ratios[:500]
