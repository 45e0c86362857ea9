"""One file on its way to lines: rows are added up by day and group, exactly."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from costmeter.sources.contract import SourceError
from costmeter.sources.files.azure_ea import AzureEa
from costmeter.sources.files.cur import Cur
from costmeter.sources.files.focus import Focus
from costmeter.sources.files.shapes import Amounts, Group, Shape, Whose, WrongFile
from costmeter.sources.files.spread import Span, divide, span
from costmeter.sources.files.tables import Pick, Table, tables
from costmeter.sources.files.values import EXACT, Unreadable, instant

_log = logging.getLogger("costmeter.sources")

SHAPES: Mapping[str, Callable[[Sequence[str], Whose], Shape]] = {
    "focus": Focus,
    "cur": Cur,
    "azure_ea": AzureEa,
}
#: Sums that are held before they are handed on, and what is remembered of cells.
_MOST_HELD = 50_000
_MOST_KNOWN = 50_000
_MOST_SHOWN = 1_000

#: By day and group, amounts by basis; None on a basis of which nothing was said.
Sums = dict[tuple[int, Group], list[Decimal | None]]


class Problem(NamedTuple):
    """A row that could not be read."""

    file: str
    row: int
    column: str
    why: str

    def __str__(self) -> str:
        where = f"row {self.row}" + (f", {self.column}" if self.column else "")
        return f"{self.file}: {where}: {self.why}"


@dataclass(slots=True)
class Read:
    """What came of a file; `problems` are the first of `unreadable` rows."""

    rows: int = 0
    unreadable: int = 0
    problems: list[Problem] = field(default_factory=list)


def read_file(
    path: Path,
    name: str,
    kinds: Sequence[str],
    whose: Whose,
    keep: Callable[[Sums], None],
    *,
    even_if_nothing: bool = False,
) -> Read:
    """Add up a file; `keep` is given the sums, in several parts where there are many.

    Raises SourceError where the file is of none of the kinds, breaks off, or has rows of
    which none can be read, unless that is what somebody wants to see.
    """
    found = Read()
    with tables(path, name) as held:
        for table in held:
            _Reading(table, name, kinds, whose, keep, found).run()
    if found.unreadable and found.unreadable == found.rows and not even_if_nothing:
        raise SourceError("malformed", f"none of its rows can be read; {found.problems[0]}")
    return found


def shape_of(columns: Sequence[str], name: str, kinds: Sequence[str], whose: Whose) -> Shape:
    """The first kind that the columns are of; raises SourceError."""
    lacks = []
    for kind in kinds:
        try:
            return SHAPES[kind](columns, whose)
        except WrongFile as error:
            lacks.append(str(error))
    raise SourceError("malformed", f"{name} is {'; '.join(lacks)}")


class _Reading:
    def __init__(
        self,
        table: Table,
        name: str,
        kinds: Sequence[str],
        whose: Whose,
        keep: Callable[[Sums], None],
        found: Read,
    ) -> None:
        self._table = table
        self._name = name
        self._shape = shape_of(table.columns, name, kinds, whose)
        self._keep = keep
        self._found = found
        #: By day and the group's number: to hash a group for each row takes too long.
        self._sums: dict[tuple[int, int], list[Decimal | None]] = {}
        self._numbers: dict[Group, int] = {}
        self._groups: dict[tuple[Any, ...], tuple[Group, int]] = {}
        self._spans: dict[tuple[Any, Any], Span] = {}

    def run(self) -> None:
        shape = self._shape
        pick = Pick(shape.keys, shape.start, shape.end, shape.costs)
        read = 0
        for number, keys, start, end, costs in self._table.rows(pick, self._unreadable):
            read += 1
            try:
                group, at = self._groups.get(keys) or self._group(keys)
                days = self._spans.get((start, end)) or self._span(start, end)
                amounts = shape.amounts(group, costs)
            except Unreadable as error:
                read -= 1
                self._unreadable(number, error.column, error.why)
                continue
            if len(days) == 1 or not group.lasts:
                self._add(days[0][0], at, amounts)
            else:
                self._divide(days, at, amounts)
            if len(self._sums) >= _MOST_HELD:
                self._hand_on()
        self._found.rows += read
        self._hand_on()

    def _add(self, day: int, group: int, amounts: Amounts) -> None:
        key = (day, group)
        old = self._sums.get(key)
        if old is None:
            self._sums[key] = list(amounts)
            return
        for at, value in enumerate(amounts):
            if value is not None:
                before = old[at]
                old[at] = value if before is None else EXACT.add(before, value)

    def _divide(self, days: Span, group: int, amounts: Amounts) -> None:
        parts = [[None] * len(days) if value is None else divide(value, days) for value in amounts]
        for at, (day, _) in enumerate(days):
            self._add(day, group, tuple(part[at] for part in parts))  # type: ignore[arg-type]

    def _group(self, keys: tuple[Any, ...]) -> tuple[Group, int]:
        if len(self._groups) >= _MOST_KNOWN:
            self._groups.clear()
        group = self._shape.group(keys)
        found = self._groups[keys] = (group, self._numbers.setdefault(group, len(self._numbers)))
        return found

    def _span(self, start: Any, end: Any) -> Span:
        if len(self._spans) >= _MOST_KNOWN:
            self._spans.clear()
        since_ms = instant(start, self._shape.start)
        until_ms = instant(end, self._shape.end) if self._shape.end else since_ms
        found = self._spans[start, end] = span(since_ms, until_ms, self._shape.end)
        return found

    def _unreadable(self, row: int, column: str, why: str) -> None:
        self._found.rows += 1
        self._found.unreadable += 1
        if len(self._found.problems) < _MOST_SHOWN:
            self._found.problems.append(Problem(self._name, row, column, why))

    def _hand_on(self) -> None:
        if self._sums:
            groups = list(self._numbers)
            self._keep({(day, groups[at]): sums for (day, at), sums in self._sums.items()})
            self._sums, self._numbers = {}, {}
            self._groups.clear()
