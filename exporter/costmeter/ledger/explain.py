"""Why a figure is what it is: its events, the prices they had, and the postings.

Everything is read from what is stored, so an explanation is of the figure that was booked,
not of what it would be today. In each the parts add up to the figure to the nano.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from sqlite3 import Connection
from typing import NamedTuple

import msgspec

from costmeter.ledger.dims import RATE_COLUMNS, rate_of
from costmeter.ledger.history import DIMENSIONS
from costmeter.model import Labels
from costmeter.pricing import Rate
from costmeter.pricing.gpu_hours import gpu_parts

#: An event as its last change left it; the organization never changes.
_NOW = (
    "FROM usage_event AS e LEFT JOIN event_change AS c ON c.event = e.event AND c.seq = "
    "(SELECT max(seq) FROM event_change WHERE event = e.event) "
    "JOIN dim ON dim.dim = coalesce(c.dim, e.dim) "
)
_RATE, _NANO = "iif(c.seq IS NULL, e.rate, c.rate)", "iif(c.seq IS NULL, e.nano, c.nano)"
_LABELS = ", ".join(f"dim.{name}" for name in Labels._fields)


class UsedRate(NamedTuple):
    """A rate as it was when it was first used here."""

    rate: Rate
    known_ms: int


class Entry(NamedTuple):
    """One posting of an event: what it added to the cell of its hour."""

    kind: str
    booked: int
    nano: int


class State(NamedTuple):
    """What an event was from some booking on: as it came, corrected, or repriced."""

    kind: str
    booked: int
    labels: Labels
    status: str
    processing: str
    quantities: Mapping[str, int]
    rate: UsedRate | None
    costs: Mapping[str, int]
    nano: int | None


class Event(NamedTuple):
    """An event with all its states, the newest last, and the postings they made."""

    event: int
    event_id: str
    tenant_id: str
    at_ms: int
    feed: str
    resource: str
    in_totals: bool
    states: Sequence[State]
    entries: Sequence[Entry]

    @property
    def net(self) -> int:
        return sum(entry.nano for entry in self.entries)


def find_events(connection: Connection, text: str, tenant_id: str = "") -> list[int]:
    """Numbers of the events that a person may mean: an id in full, or what follows its feed
    or provider; at most 20, newest first."""
    condition, values = "(e.id = ? OR e.id LIKE '%:' || ? ESCAPE '\\')", [text, _literal(text)]
    if tenant_id:
        condition += " AND org.tenant_id = ?"
        values.append(tenant_id)
    rows = connection.execute(
        f"SELECT e.event, e.id FROM usage_event AS e JOIN org USING (org) WHERE {condition} "
        "ORDER BY e.event DESC",
        values,
    )
    # `p:openai:r-1` and `f:http:x:r-1` both end in `:r-1`; only the first is called so.
    return [event for event, name in rows if text in (name, name.split(":", 2)[-1])][:20]


def explain_event(connection: Connection, event: int) -> Event:
    """One event in full. Raises LookupError when there is none of that number."""
    rates = _Rates(connection)
    row = connection.execute(
        "SELECT e.id, org.tenant_id, e.at_ms, e.feed, e.resource, e.event <= "
        "(SELECT CAST(v AS INTEGER) FROM meta WHERE k = 'flushed_event'), e.booked, e.dim, "
        "e.status, e.processing, e.quantities, e.rate, e.nano "
        "FROM usage_event AS e JOIN org USING (org) WHERE e.event = ?",
        (event,),
    ).fetchone()
    if row is None:
        raise LookupError(event)
    changes = connection.execute(
        "SELECT kind, booked, dim, status, processing, quantities, rate, nano "
        "FROM event_change WHERE event = ? ORDER BY seq",
        (event,),
    ).fetchall()
    states = [
        _state(connection, rates, kind, bool(row[4]), *rest)
        for kind, *rest in [("usage", *row[6:]), *changes]
    ]
    return Event(
        event, row[0], row[1], row[2], row[3], row[4], bool(row[5]), states, _entries(states)
    )


def _state(
    connection: Connection, rates: _Rates, kind: str, accrued: bool, booked: int, dim: int,
    status: str, processing: str, text: str, rate: int | None, nano: int | None,
) -> State:  # fmt: skip
    quantities: Mapping[str, int] = msgspec.json.decode(text)
    used = None if rate is None else rates.numbered(rate)
    costs: Mapping[str, int] = {}
    if used is not None and nano is not None:
        if accrued:
            costs = gpu_parts(used.rate, quantities, nano)
        else:
            costs = used.rate.costs(quantities) or {}
    row = connection.execute(f"SELECT {_LABELS} FROM dim WHERE dim = ?", (dim,)).fetchone()
    return State(kind, booked, Labels(*row), status, processing, quantities, used, costs, nano)


def _entries(states: Sequence[State]) -> list[Entry]:
    first = states[0]
    entries = [
        Entry("usage" if first.nano is not None else "unpriced", first.booked, first.nano or 0)
    ]
    for old, new in pairwise(states):
        before, after = old.nano or 0, new.nano or 0
        if new.kind == "reprice":
            entries.append(Entry("reprice", new.booked, after - before))
        else:
            entries.append(Entry("correct", new.booked, -before))
            kind = "correct" if new.nano is not None else "unpriced"
            entries.append(Entry(kind, new.booked, after))
    return entries


class CellPart(NamedTuple):
    """What the cells of one kind add to a figure."""

    kind: str
    requests: int
    up: int
    down: int


class ClassPart(NamedTuple):
    """One class of usage in a figure: pieces, and net nano-USD."""

    name: str
    quantity: int
    nano: int


class RatePart(NamedTuple):
    """The events of a figure that stand at one rate now; no rate is unpriced."""

    used: UsedRate | None
    events: int
    nano: int


class Figure(NamedTuple):
    """Spend, three times over: by kind, by class and by rate. All three give `net`.

    `postings` are the entries that no event made (bills, fixed costs), by kind.
    """

    kinds: Sequence[CellPart]
    classes: Sequence[ClassPart]
    rates: Sequence[RatePart]
    postings: Sequence[tuple[str, int, int]]

    @property
    def net(self) -> int:
        return sum(part.up - part.down for part in self.kinds)

    @property
    def of_events(self) -> int:
        """What events and other postings give, counted apart from the cells."""
        return sum(part.nano for part in self.rates) + sum(nano for *_, nano in self.postings)


def explain_spend(
    connection: Connection,
    cell_ms: int,
    where: Sequence[tuple[str, str]] = (),
    *,
    since_ms: int = 0,
    until_ms: int = 1 << 62,
) -> Figure:
    """What a figure of spend by usage time consists of. ValueError for a wrong dimension."""
    unknown = [name for name, _ in where if name not in DIMENSIONS or name == "kind"]
    if unknown:
        known = ", ".join(name for name in DIMENSIONS if name != "kind")
        raise ValueError(f"unknown dimension {unknown[0]!r}; choose from {known}")
    values = [since_ms, until_ms, *(value for _, value in where)]

    def narrowed(hour: str) -> str:
        parts = [f"{hour} >= ?", f"{hour} < ?"]
        for name, _ in where:
            day = f"date({hour} / 1000, 'unixepoch')"
            parts.append(f"{day if name == 'day' else f'dim.{name}'} = ?")
        return " AND ".join(parts)

    cells = f"FROM cell JOIN dim USING (dim) WHERE {narrowed('cell.hour')}"
    kinds = [
        CellPart(*row)
        for row in connection.execute(
            f"SELECT kind, sum(requests), sum(up), sum(down) {cells} GROUP BY kind ORDER BY kind",
            values,
        )
    ]
    hour = f"(e.at_ms - e.at_ms % {int(cell_ms)})"
    rates = _Rates(connection)
    # Events that no cell holds yet belong to no figure yet.
    in_totals = "e.event <= (SELECT CAST(v AS INTEGER) FROM meta WHERE k = 'flushed_event')"
    rows = connection.execute(
        f"SELECT {_RATE} AS used, count(*), coalesce(sum({_NANO}), 0) {_NOW} "
        f"WHERE {in_totals} AND {narrowed(hour)} GROUP BY used ORDER BY 3 DESC, 1",
        values,
    ).fetchall()
    postings = connection.execute(
        "SELECT kind, count(*), sum(nano) FROM posting JOIN dim USING (dim) "
        f"WHERE {narrowed('posting.hour')} GROUP BY kind ORDER BY kind",
        values,
    ).fetchall()
    return Figure(
        kinds,
        _classes(connection, cells, values),
        [
            RatePart(None if number is None else rates.numbered(number), events, nano)
            for number, events, nano in rows
        ],
        [(kind, count, nano) for kind, count, nano in postings],
    )


def _classes(connection: Connection, cells: str, values: Sequence[object]) -> list[ClassPart]:
    sums: dict[str, list[int]] = {}
    for place, column in enumerate(("quantities", "nanos")):
        joined = cells.replace("FROM cell", f"FROM cell CROSS JOIN json_each(cell.{column}) AS j")
        for name, amount in connection.execute(
            f"SELECT j.key, sum(j.value) {joined} GROUP BY j.key", values
        ):
            sums.setdefault(name, [0, 0])[place] = amount
    return [ClassPart(name, *sums[name]) for name in sorted(sums) if any(sums[name])]


class EventNow(NamedTuple):
    """An event as it stands."""

    org: int
    at_ms: int
    labels: Labels
    processing: str
    quantities: Mapping[str, int]
    nano: int | None
    resource: str


def events_since(connection: Connection, since_ms: int) -> Iterator[EventNow]:
    """Every event from `since_ms` on, in the order of booking."""
    labels: dict[int, Labels] = {}
    for org, at_ms, dim, processing, text, nano, resource, *tuple_ in connection.execute(
        "SELECT e.org, e.at_ms, dim.dim, coalesce(c.processing, e.processing), "
        f"coalesce(c.quantities, e.quantities), {_NANO}, e.resource, {_LABELS} {_NOW} "
        "WHERE e.at_ms >= ? ORDER BY e.event",
        (since_ms,),
    ):
        if dim not in labels:
            labels[dim] = Labels(*tuple_)
        yield EventNow(
            org, at_ms, labels[dim], processing, msgspec.json.decode(text), nano, resource
        )


class _Rates:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def numbered(self, number: int) -> UsedRate:
        known_ms, *row = self._connection.execute(
            f"SELECT known_ms, {RATE_COLUMNS} FROM price WHERE rate = ?", (number,)
        ).fetchone()
        return UsedRate(rate_of(row), known_ms)


def _literal(text: str) -> str:
    """A text in which LIKE sees no signs of its own."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
