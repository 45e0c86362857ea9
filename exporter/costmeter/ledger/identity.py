"""Each event once: who it is, whether we have it, and which feed books it.

An event's identity is (organization, UTC day of its own time, id). The same id on a
neighbouring day is the same event: a retry may have crossed midnight.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from itertools import repeat
from sqlite3 import Connection
from struct import unpack
from typing import NamedTuple

import msgspec

from costmeter.attribution import ANY_FEED
from costmeter.ledger.dims import Dim, Dims
from costmeter.ledger.door import Verdict
from costmeter.model import MS_PER_DAY, Usage

_encode = msgspec.json.Encoder(order="sorted").encode
#: The join order is forced, and the days are a list and no range: each id of the batch is
#: then looked up in the index once for each of these days, instead of walking through them.
_PROBE = (
    "SELECT wanted.key, e.org, e.id, e.event FROM json_each(?) AS wanted "
    "CROSS JOIN identity AS i ON i.day IN ({}) AND i.h = wanted.value "
    "CROSS JOIN usage_event AS e ON e.event = i.event"
)
#: The plain constructor of a named tuple costs three times as much.
_NEW = tuple.__new__


class Fresh(NamedTuple):
    """An event that is to be booked, by its place in the batch."""

    place: int
    dim: Dim
    day: int
    event_id: str
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
        self._last: int | None = None
        self._indexed = 0
        self._recent: dict[int, Fresh] = {}
        # Of those with the same hash all, the first one included.
        self._twins: dict[int, list[Fresh]] = {}
        # Days that the index holds: the others need no look.
        self._days: set[int] = set()

    def forget(self) -> None:
        """Ask the table again for the last number: the transaction was rolled back."""
        self._last = None
        self._forget_recent()

    def _forget_recent(self) -> None:
        self._recent.clear()
        self._twins.clear()

    @property
    def waiting(self) -> int:
        """Identities that are not in the index yet; the events are in the table."""
        return 0 if self._last is None else self._last - self._indexed

    def flush(self) -> None:
        """Write the index, in its own order."""
        last = self.last_event()
        if last > self._indexed:
            self._connection.execute(
                "INSERT INTO identity SELECT day, h, event FROM usage_event WHERE event > ? "
                "ORDER BY day, h",
                (self._indexed,),
            )
            self._days.update([new.day for new in self._recent.values()])
            self._days.update([new.day for twins in self._twins.values() for new in twins])
        self._indexed = last
        self._forget_recent()

    def catch_up(self, indexed: int) -> None:
        """Begin after a start or a failure: the events after `indexed` are in no index."""
        self._indexed = indexed
        self._last = None
        self._days = self._indexed_days()

    def _indexed_days(self) -> set[int]:
        """One step of the index for each day; DISTINCT would read all of it."""
        days: set[int] = set()
        while True:
            row = self._connection.execute(
                "SELECT min(day) FROM identity WHERE day > ?", (max(days, default=-1),)
            ).fetchone()
            if row[0] is None:
                return days
            days.add(int(row[0]))

    def remember(self, new: Fresh) -> None:
        """Take in an event that was booked after the last flush."""
        first = self._recent.setdefault(new.h, new)
        if first is not new:
            self._twins.setdefault(new.h, [first]).append(new)

    def last_event(self) -> int:
        """The highest number given out so far; 0 before the first."""
        if self._last is None:
            row = self._connection.execute("SELECT max(event) FROM usage_event").fetchone()
            self._last = int(row[0] or 0)
        return self._last

    def numbers(self, count: int) -> range:
        """The numbers of so many more events."""
        first = self.last_event() + 1
        self._last = first + count - 1
        return range(first, first + count)

    def sift(self, batch: Sequence[Usage]) -> tuple[list[Verdict], list[Fresh]]:
        """Tell booked, repeated and observed events apart."""
        verdicts = [Verdict.DUPLICATE] * len(batch)
        places: list[int] = []
        dims: list[Dim] = []
        days: list[int] = []
        ids: list[str] = []
        digests: list[bytes] = []
        # What holds for all events of a label tuple; readers hand out the same one many times.
        told: dict[int, tuple[Dim, bool, blake2b]] = {}
        for place, usage in enumerate(batch):
            labels = usage.labels
            known_labels = told.get(id(labels))
            if known_labels is None:
                dim = self._dims.of(labels)
                anybody = dim.scope.detail_from == ANY_FEED
                begun = blake2b(f"{dim.org} ".encode(), digest_size=8)
                known_labels = told[id(labels)] = (dim, anybody, begun)
            dim, anybody, begun = known_labels
            day = usage.at_ms // MS_PER_DAY
            if not anybody and not dim.scope.books(usage.feed):
                verdicts[place] = self._observe(usage, dim, day)
                continue
            # As in `digest`, but begun once for all of a tenant, and without an integer of its own.
            event_id = usage.event_id
            hashed = begun.copy()
            hashed.update(event_id.encode())
            digests.append(hashed.digest())
            places.append(place)
            dims.append(dim)
            days.append(day)
            ids.append(event_id)
        hashes = unpack(f">{len(digests)}q", b"".join(digests))
        candidates = list(
            map(_NEW, repeat(Fresh), zip(places, dims, days, ids, hashes, strict=True))
        )
        known: set[int] = set()
        for day in set(days):
            known |= self._known(day, [new for new in candidates if new.day == day])
        fresh: list[Fresh] = []
        recent = self._recent
        for place, h, new in zip(places, hashes, candidates, strict=True):
            if known and place in known:
                continue
            first = recent.setdefault(h, new)
            if first is not new and self._repeats(new, first):
                continue
            verdicts[place] = Verdict.ACCEPTED
            fresh.append(new)
        return verdicts, fresh

    def _repeats(self, new: Fresh, first: Fresh) -> bool:
        """Whether one with the same hash waits already; another event is remembered beside it."""
        others = self._twins.setdefault(new.h, [first])
        if any(_same(new, other) for other in others):
            return True
        others.append(new)
        return False

    def find(self, org: int, day: int, event_id: str) -> int | None:
        """The number of a booked event; only after a flush."""
        for _, found_org, found_id, event in self._probe(day, [digest(org, event_id)]):
            if found_org == org and found_id == event_id:
                return event
        return None

    def _known(self, day: int, group: Sequence[Fresh]) -> set[int]:
        """Places in the batch of events that are booked already."""
        return {
            group[position].place
            for position, org, found_id, _ in self._probe(day, [new.h for new in group])
            if group[position].dim.org == org and group[position].event_id == found_id
        }

    def _probe(self, day: int, hashes: Sequence[int]) -> list[tuple[int, int, str, int]]:
        """(position, org, id, event) of what the index has on that day and the days beside it."""
        days = sorted(self._days & {day - 1, day, day + 1})
        if not days:
            return []
        return self._connection.execute(
            _PROBE.format(", ".join("?" * len(days))), (_encode(hashes).decode(), *days)
        ).fetchall()

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


def _same(one: Fresh, other: Fresh) -> bool:
    return (
        one.event_id == other.event_id
        and one.dim.org == other.dim.org
        and abs(one.day - other.day) <= 1
    )
