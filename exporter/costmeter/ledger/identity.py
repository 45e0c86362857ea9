"""Each event once: who it is, whether we have it, and which feed books it.

An event's identity is (organization, UTC day of its own time, id). The same id on a
neighbouring day is the same event: a retry may have crossed midnight.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from sqlite3 import Connection
from typing import NamedTuple

import msgspec

from costmeter.attribution import ANY_FEED
from costmeter.ledger.dims import Dim, Dims
from costmeter.ledger.door import Verdict
from costmeter.model import MS_PER_DAY, Usage

_encode = msgspec.json.Encoder(order="sorted").encode
_INSERT = f"INSERT INTO usage_event VALUES ({', '.join('?' * 18)})"
#: The join order is forced, and the days are a list and no range: each id of the batch is
#: then looked up in the index three times, instead of walking through three days.
_PROBE = (
    "SELECT wanted.key, e.org, e.id, e.event FROM json_each(:wanted) AS wanted "
    "CROSS JOIN identity AS i ON i.day IN (:day - 1, :day, :day + 1) AND i.h = wanted.value "
    "CROSS JOIN usage_event AS e ON e.event = i.event"
)


#: The plain constructor of a named tuple costs three times as much.
_NEW = tuple.__new__


class Fresh(NamedTuple):
    """An event that is to be booked, by its place in the batch."""

    place: int
    dim: Dim
    day: int
    h: int


def digest(org: int, event_id: str) -> int:
    """64 bits of BLAKE2b over organization and id, as SQLite's signed integer."""
    raw = blake2b(f"{org} {event_id}".encode(), digest_size=8).digest()
    return int.from_bytes(raw, "big", signed=True)


class Identities:
    """Used inside the write transaction only.

    The index of identities is random by nature: written at once, every event would dirty
    a page of its own. It is written at each flush instead; until then the ids are here.
    """

    def __init__(self, connection: Connection, dims: Dims) -> None:
        self._connection = connection
        self._dims = dims
        self._next = 0
        self._recent: dict[tuple[int, str], list[int]] = {}
        self._unwritten: list[tuple[int, int, int]] = []

    def forget(self) -> None:
        """Ask the table again for the next number: the transaction was rolled back."""
        self._next = 0
        self._recent.clear()
        self._unwritten.clear()

    @property
    def waiting(self) -> int:
        """Identities that only memory knows by now; the events are in the table."""
        return len(self._unwritten)

    def flush(self) -> None:
        """Write the index, in its own order."""
        self._unwritten.sort()
        self._connection.executemany("INSERT INTO identity VALUES (?, ?, ?)", self._unwritten)
        self._unwritten.clear()
        self._recent.clear()

    def remember(self, org: int, day: int, event_id: str, event: int) -> None:
        """Take in an event that was booked after the last flush."""
        self._recent.setdefault((org, event_id), []).append(day)
        self._unwritten.append((day, digest(org, event_id), event))

    def last_event(self) -> int:
        """The highest number given out so far; 0 before the first."""
        if not self._next:
            row = self._connection.execute("SELECT max(event) FROM usage_event").fetchone()
            self._next = int(row[0] or 0) + 1
        return self._next - 1

    def number(self, new: Fresh) -> int:
        """The number of one more event, under which its identity is kept."""
        event = self.last_event() + 1
        self._next = event + 1
        self._unwritten.append((new.day, new.h, event))
        return event

    def keep(self, rows: Sequence[tuple[object, ...]]) -> None:
        """Store booked events."""
        self._connection.executemany(_INSERT, rows)

    def sift(self, batch: Sequence[Usage]) -> tuple[list[Verdict], list[Fresh]]:
        """Tell booked, repeated and observed events apart."""
        verdicts = [Verdict.DUPLICATE] * len(batch)
        candidates: list[Fresh] = []
        days: dict[int, list[Fresh]] = {}
        dim_of = self._dims.of
        for place, usage in enumerate(batch):
            dim = dim_of(usage.labels)
            day = usage.at_ms // MS_PER_DAY
            if dim.scope.detail_from != ANY_FEED and not dim.scope.books(usage.feed):
                verdicts[place] = self._observe(usage, dim, day)
                continue
            candidate = _NEW(Fresh, (place, dim, day, digest(dim.org, usage.event_id)))
            candidates.append(candidate)
            same_day = days.get(day)
            if same_day is None:
                same_day = days[day] = []
            same_day.append(candidate)
        known: set[int] = set()
        for day, same_day in days.items():
            known |= self._known(batch, day, same_day)
        fresh: list[Fresh] = []
        recent = self._recent
        for candidate in candidates:
            if candidate.place in known:
                continue
            key = (candidate.dim.org, batch[candidate.place].event_id)
            others = recent.get(key)
            if others is None:
                recent[key] = [candidate.day]
            elif any(abs(candidate.day - day) <= 1 for day in others):
                continue
            else:
                others.append(candidate.day)
            verdicts[candidate.place] = Verdict.ACCEPTED
            fresh.append(candidate)
        return verdicts, fresh

    def find(self, org: int, day: int, event_id: str) -> int | None:
        """The number of a booked event; only after a flush."""
        wanted = _encode([digest(org, event_id)]).decode()
        for _, found_org, found_id, event in self._connection.execute(
            _PROBE, {"wanted": wanted, "day": day}
        ):
            if found_org == org and found_id == event_id:
                return int(event)
        return None

    def _known(self, batch: Sequence[Usage], day: int, group: Sequence[Fresh]) -> set[int]:
        """Places in the batch of events that are booked already."""
        wanted = _encode([new.h for new in group]).decode()
        return {
            group[position].place
            for position, org, found_id, _ in self._connection.execute(
                _PROBE, {"wanted": wanted, "day": day}
            )
            if group[position].dim.org == org and batch[group[position].place].event_id == found_id
        }

    def _observe(self, usage: Usage, dim: Dim, day: int) -> Verdict:
        cursor = self._connection.execute(
            "INSERT INTO observed_event VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (
                dim.org,
                day,
                usage.feed,
                usage.event_id,
                dim.dim,
                _encode(usage.quantities).decode(),
            ),
        )
        return Verdict.OBSERVED if cursor.rowcount else Verdict.DUPLICATE
