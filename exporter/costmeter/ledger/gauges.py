"""The to-date gauges: exact net spend of the day, month, quarter and year.

A gauge that is zero now and in the period before is absent, so a label that left does
not stay for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from sqlite3 import Connection
from sys import intern

import msgspec

from costmeter.ledger.periods import Calendar, quarter_months, shift_month
from costmeter.model import CHUNK_SIZE, Chunk

Labels = tuple[str, ...]
#: Positions of category, provider and tenant_id among the exported labels.
_COARSE = (0, 1, 3)
FAMILIES = (
    "llm_cost_day_to_date",
    "llm_cost_month_to_date",
    "llm_cost_quarter_to_date",
    "llm_cost_year_to_date",
    "llm_cost_last_month",
    "llm_cost_saved_by_contract_month_to_date",
)
_SAVED = FAMILIES[-1]


class _Family:
    """One gauge family: [now, the period before] by labels, and its chunks."""

    def __init__(self) -> None:
        self._figures: dict[Labels, list[int]] = {}
        self._places: dict[Labels, int] = {}
        self._touched: set[Labels] = set()
        self.chunks: tuple[Chunk, ...] = ()

    def add(self, labels: Labels, which: int, delta: int) -> None:
        figures = self._figures.get(labels)
        if figures is None:
            figures = self._figures[labels] = [0, 0]
        figures[which] += delta
        self._touched.add(labels)

    def shelve(self) -> None:
        """Carry what was touched into new chunks; untouched chunks stay the same objects."""
        chunks = list(self.chunks)
        by_chunk: dict[int, list[tuple[int, int]]] = {}
        for labels in self._touched:
            figures = self._figures[labels]
            place = self._places.get(labels)
            if not any(figures):
                if place is not None:
                    self._start_over()
                    return
                continue
            if place is None:
                place = self._places[labels] = len(self._places)
                if place % CHUNK_SIZE == 0:
                    chunks.append(Chunk((), ()))
                last = chunks[-1]
                chunks[-1] = Chunk((*last.labels, labels), (*last.values, 0))
            by_chunk.setdefault(place // CHUNK_SIZE, []).append((place % CHUNK_SIZE, figures[0]))
        for number, changes in by_chunk.items():
            values = list(chunks[number].values)
            for offset, value in changes:
                values[offset] = value
            chunks[number] = Chunk(chunks[number].labels, tuple(values))
        self._touched.clear()
        self.chunks = tuple(chunks)

    def _start_over(self) -> None:
        """A series left: every later one moves up."""
        shown = {labels: now for labels, (now, before) in self._figures.items() if now or before}
        self._figures = {labels: self._figures[labels] for labels in shown}
        self._places = {labels: place for place, labels in enumerate(shown)}
        self._touched.clear()
        rows = list(shown.items())
        parts = [rows[i : i + CHUNK_SIZE] for i in range(0, len(rows), CHUNK_SIZE)]
        self.chunks = tuple(
            Chunk(tuple(labels for labels, _ in part), tuple(value for _, value in part))
            for part in parts
        )


class _Periods:
    """Which place (0 = now, 1 = the period before) a day or month has in each family."""

    def __init__(self, calendar: Calendar, day: int, month: int) -> None:
        last = shift_month(month, -1)
        quarter = quarter_months(month)
        year = month // 100
        self.of_day = {day: 0, calendar.previous_day(day): 1}
        self.of_month: dict[str, dict[int, int]] = {
            "llm_cost_month_to_date": {month: 0, last: 1},
            "llm_cost_last_month": {last: 0, shift_month(month, -2): 1},
            "llm_cost_quarter_to_date": {
                **dict.fromkeys(quarter_months(shift_month(quarter[0], -1)), 1),
                **dict.fromkeys(quarter, 0),
            },
            "llm_cost_year_to_date": {
                (year - which) * 100 + number: which for number in range(1, 13) for which in (0, 1)
            },
        }


class Gauges:
    """Reads `period_cost`; built anew when a period ends, updated in place otherwise."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._calendar = Calendar("UTC")
        self._seen: tuple[str, int, int] | None = None
        self._nets: dict[tuple[str, int, Labels], int] = {}
        self._families: dict[str, _Family] = {}
        self._periods = _Periods(self._calendar, 19700101, 197001)

    def refresh(
        self, seen_revision: int, clock_ms: int, zone: str
    ) -> Mapping[str, tuple[Chunk, ...]]:
        """All gauge families at the release clock. Inside a read transaction."""
        if self._calendar.zone_name != zone:
            self._calendar = Calendar(zone or "UTC")
        day, month = self._calendar.day_and_month(clock_ms - clock_ms % 60_000)
        if (zone, day, month) != self._seen or seen_revision < 0:
            # Not seen before all of it is read: a read that breaks off begins again.
            self._seen = None
            self._periods = _Periods(self._calendar, day, month)
            self._nets.clear()
            self._families = {name: _Family() for name in FAMILIES}
            rows = self._connection.execute(
                "SELECT grain, start, labels, net FROM period_cost "
                "WHERE grain = 'day' AND start >= ? OR grain IN ('month', 'saved') AND start >= ?",
                (self._calendar.previous_day(day), (month // 100 - 1) * 100),
            )
        else:
            rows = self._connection.execute(
                "SELECT grain, start, labels, net FROM period_cost WHERE rev > ?", (seen_revision,)
            )
        for grain, start, text, net in rows:
            self._take(grain, start, tuple(map(intern, msgspec.json.decode(text))), net)
        for family in self._families.values():
            family.shelve()
        self._seen = (zone, day, month)
        return {name: family.chunks for name, family in self._families.items()}

    def _take(self, grain: str, start: int, labels: Labels, net: int) -> None:
        key = (grain, start, labels)
        delta = net - self._nets.get(key, 0)
        self._nets[key] = net
        if grain == "day":
            which = self._periods.of_day.get(start)
            if which is not None:
                self._families["llm_cost_day_to_date"].add(labels, which, delta)
            return
        if grain == "saved":
            which = self._periods.of_month["llm_cost_month_to_date"].get(start)
            if which is not None:
                self._families[_SAVED].add(labels, which, delta)
            return
        coarse = tuple(labels[i] for i in _COARSE)
        for name, months in self._periods.of_month.items():
            which = months.get(start)
            if which is not None:
                fine = name == "llm_cost_month_to_date"
                self._families[name].add(labels if fine else coarse, which, delta)
