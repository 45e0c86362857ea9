"""Azure Cost Management's query: one question, its pages, and its rows by column.

Shape: `POST {scope}/providers/Microsoft.CostManagement/query`, version 2025-03-01: columns
and rows, whose order and set vary; dates are numbers such as 20261120. A further page is
asked for with the same question. 204 says that there is nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from costmeter.model import MS_PER_DAY
from costmeter.sources.azure_auth import Manager
from costmeter.sources.contract import Desk, SourceError
from costmeter.sources.reading import (
    Row,
    amount,
    clean,
    group,
    instant_ms,
    malformed,
    rfc3339,
    rows,
)

VERSION = "2025-03-01"
#: Names of the column with the amount, by kind of agreement and version.
_COSTS = ("cost", "pretaxcost", "totalcost")
_MOST_ROWS = 500_000
#: Query units that a tenant may use: (within ms, units). A month of data takes about one.
LIMITS = ((10_000, 12), (60_000, 60), (3_600_000, 600))
_LONGEST_PAUSE_MS = 60_000


class Question(NamedTuple):
    """Sums by day: `kind` is ActualCost or AmortizedCost, `only` values by dimension."""

    kind: str
    groups: Sequence[tuple[str, str]]
    """(Dimension or TagKey, name); at most two."""
    only: Sequence[tuple[str, Sequence[str]]] = ()

    def body(self, since_ms: int, until_ms: int) -> Mapping[str, object]:
        dataset: dict[str, object] = {
            "granularity": "Daily",
            "aggregation": {"totalCost": {"name": "Cost", "function": "Sum"}},
            "grouping": [{"type": kind, "name": name} for kind, name in self.groups],
        }
        filters: list[object] = [
            {"dimensions": {"name": name, "operator": "In", "values": list(values)}}
            for name, values in self.only
        ]
        if filters:
            dataset["filter"] = filters[0] if len(filters) == 1 else {"and": filters}
        return {
            "type": self.kind,
            "timeframe": "Custom",
            "timePeriod": {"from": rfc3339(since_ms), "to": rfc3339(until_ms - 1_000)},
            "dataset": dataset,
        }


class Sum(NamedTuple):
    """What one group is charged for one day."""

    start_ms: int
    amount: Decimal
    currency: str
    values: Mapping[str, str]
    """By the column's name in lower case."""


class Pace:
    """Keeps under the query units that a tenant may use, as far as this source knows."""

    def __init__(self) -> None:
        self._used: deque[tuple[int, int]] = deque()

    def take(self, desk: Desk, units: int) -> None:
        """Wait for room, then take it; raises SourceError where that takes long."""
        now_ms = desk.clock.now_ms()
        wait_ms = max(self._wait(now_ms, units, *limit) for limit in LIMITS)
        if wait_ms > _LONGEST_PAUSE_MS:
            raise SourceError("throttled", "all query units of this hour are used", wait_ms)
        if wait_ms and desk.pause(wait_ms / 1000):
            raise SourceError("stopped", "the exporter is stopping")
        self._used.append((now_ms + wait_ms, units))

    def _wait(self, now_ms: int, units: int, within_ms: int, most: int) -> int:
        while self._used and self._used[0][0] <= now_ms - LIMITS[-1][0]:
            self._used.popleft()
        used, wait_ms = units, 0
        # From the newest: what has no room beside it has to leave the window first.
        for at_ms, taken in reversed(self._used):
            used += taken
            if used > most:
                wait_ms = max(0, at_ms + within_ms - now_ms)
                break
        return wait_ms


def ask(
    manager: Manager,
    desk: Desk,
    pace: Pace,
    scope: str,
    question: Question,
    since_ms: int,
    until_ms: int,
) -> Iterator[Sum]:
    """Every sum within [since, until), which both begin a UTC day; raises SourceError."""
    body = question.body(since_ms, until_ms)
    units = -(-(until_ms - since_ms) // (31 * MS_PER_DAY))

    def post(path: str, query: Sequence[tuple[str, str]]) -> Row:
        pace.take(desk, units)
        return manager.post(desk, path, query, body)

    pages = manager.follow(
        post,
        f"{scope}/providers/Microsoft.CostManagement/query",
        [("api-version", VERSION)],
        link=lambda page: group(page, "properties").get("nextLink"),
        data=lambda page: group(page, "properties").get("rows"),
    )
    seen: set[tuple[Any, ...]] = set()
    for page in pages:
        if not page:
            continue  # 204
        for row in _table(group(page, "properties")):
            found = _sum(row)
            if not since_ms <= found.start_ms < until_ms:
                raise malformed("UsageDate", "is no day that was asked for")
            cost = _cost(row)
            mark = tuple((name, str(value)) for name, value in row.items() if name != cost)
            if mark in seen:
                raise SourceError("repeated_page", "a group of a day came twice")
            seen.add(mark)
            if len(seen) > _MOST_ROWS:
                raise SourceError("too_large", f"more than {_MOST_ROWS} rows; group by less")
            yield found


def _table(properties: Row) -> Iterator[Row]:
    """Rows by column; names in lower case, because their spelling varies."""
    columns = [str(column.get("name", "")).lower() for column in rows(properties, "columns")]
    found = properties.get("rows")
    if not isinstance(found, list):
        raise malformed("rows", "expected a list")
    for values in found:
        if not isinstance(values, list) or len(values) != len(columns):
            raise malformed("rows", "a row does not fit the columns")
        yield dict(zip(columns, values, strict=True))


def _cost(row: Row) -> str:
    name = next((name for name in _COSTS if name in row), None)
    if name is None:
        raise malformed("columns", "none of them is the cost")
    return name


def _sum(row: Row) -> Sum:
    cost = _cost(row)
    currency = row.get("currency")
    if not isinstance(currency, str):
        raise malformed("Currency", "missing")
    # A group without an amount charges nothing.
    money = Decimal(0) if row[cost] is None else amount(row[cost], "Cost")
    values = {name: _value(value) for name, value in row.items() if name != cost}
    return Sum(_start_ms(row), money, currency, values)


def _value(value: Any) -> str:
    if isinstance(value, dict | list):
        raise malformed("rows", "expected values of a row to be plain")
    return "" if value is None else clean(str(value))


def _start_ms(row: Row) -> int:
    said = row.get("usagedate")
    if isinstance(said, str) and not said.isdecimal():
        return instant_ms(row, "usagedate")
    text = str(said)
    try:
        day = date(int(text[:4]), int(text[4:6]), int(text[6:])) if len(text) == 8 else None
    except ValueError:
        day = None
    if day is None:
        raise malformed("UsageDate", "expected a number such as 20261120")
    return (day.toordinal() - date(1970, 1, 1).toordinal()) * MS_PER_DAY
