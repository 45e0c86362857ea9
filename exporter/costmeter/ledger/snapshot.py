"""Reads committed states: the only thing that everything after the ledger sees.

The writer's own process and a replica read in the same way, from the file, so what is
exported is a pure function of one committed snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping
from sqlite3 import Connection
from sys import intern

import msgspec
from msgspec import Struct

from costmeter.ledger.gauges import Gauges
from costmeter.ledger.settle.figures import SettlementFigures
from costmeter.ledger.store import transaction_for_reading
from costmeter.model import CHUNK_SIZE, Chunk, Release, Snapshot, Veil

Labels = tuple[str, ...]


class _Shelf:
    """The chunks of one counter family; a series keeps its place for good."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self._size = 0

    def append(self, labels: Labels) -> int:
        if self._size % CHUNK_SIZE == 0:
            self.chunks.append(Chunk((), ()))
        last = self.chunks[-1]
        self.chunks[-1] = Chunk((*last.labels, labels), (*last.values, 0), last.veils)
        self._size += 1
        return self._size - 1


class _Place(Struct):
    family: str
    position: int
    hold_until_ms: int
    releases: tuple[Release, ...] = ()


class SnapshotReader:
    """Keeps a picture of the ledger up to date from a connection of its own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._revision = -1
        self._epoch = -1
        self._shelves: dict[str, _Shelf] = {}
        self._places: dict[int, _Place] = {}
        self._gauges = Gauges(connection)
        self._settlements = SettlementFigures(connection)

    def refresh(self) -> Snapshot:
        """The newest committed state. Raises sqlite3.Error when it cannot be read."""
        with transaction_for_reading(self._connection):
            meta = dict(self._connection.execute("SELECT k, v FROM meta"))
            revision, epoch = int(meta["revision"]), int(meta["epoch"])
            clock_ms = int(meta["release_clock"])
            if epoch != self._epoch or revision < self._revision:
                self._shelves.clear()
                self._places.clear()
                self._revision, self._epoch = -1, epoch
            if revision != self._revision:
                self._read_counters(clock_ms)
            families = {name: tuple(shelf.chunks) for name, shelf in self._shelves.items()}
            families.update(
                self._gauges.refresh(self._revision, clock_ms, meta["reporting_timezone"])
            )
            families.update(self._settlements.refresh())
            self._revision = revision
        return Snapshot(
            revision=revision,
            ledger_id=meta["ledger_id"],
            epoch=epoch,
            release_clock_ms=clock_ms,
            heartbeat_ms=int(meta["heartbeat"]),
            families=families,
        )

    def close(self) -> None:
        self._connection.close()

    def _read_counters(self, clock_ms: int) -> None:
        touched: dict[int, int] = {}
        for series, family, labels, value, hold_until in self._connection.execute(
            "SELECT series, family, labels, value, hold_until FROM series WHERE rev > ?",
            (self._revision,),
        ):
            place = self._places.get(series)
            if place is None:
                shelf = self._shelves.setdefault(family, _Shelf())
                position = shelf.append(tuple(map(intern, msgspec.json.decode(labels))))
                place = self._places[series] = _Place(family, position, 0)
            place.hold_until_ms = hold_until
            touched[series] = value
        self._read_releases(clock_ms)
        self._shelve(touched, clock_ms)

    def _read_releases(self, clock_ms: int) -> None:
        fresh: dict[int, dict[tuple[int, int], int]] = {}
        for series, from_ms, until_ms, amount in self._connection.execute(
            "SELECT series, from_ms, until_ms, amount FROM release WHERE rev > ?",
            (self._revision,),
        ):
            fresh.setdefault(series, {})[(from_ms, until_ms)] = amount
        for series, changed in fresh.items():
            place = self._places[series]
            kept = {
                (r.from_ms, r.until_ms): r.amount for r in place.releases if r.until_ms > clock_ms
            }
            kept.update(changed)
            place.releases = tuple(Release(n, f, u) for (f, u), n in sorted(kept.items()))

    def _shelve(self, touched: Mapping[int, int], clock_ms: int) -> None:
        by_chunk: dict[tuple[str, int], list[tuple[int, int, _Place]]] = {}
        for series, value in touched.items():
            place = self._places[series]
            chunk, offset = divmod(place.position, CHUNK_SIZE)
            by_chunk.setdefault((place.family, chunk), []).append((offset, value, place))
        for (family, number), changes in by_chunk.items():
            chunks = self._shelves[family].chunks
            old = chunks[number]
            values = list(old.values)
            veils = {veil.position: veil for veil in old.veils}
            for offset, value, place in changes:
                values[offset] = value
                veils.pop(offset, None)
                veil = Veil(offset, place.hold_until_ms, 0, place.releases)
                if _veiled(veil, clock_ms):
                    veils[offset] = veil
            kept = tuple(veil for veil in veils.values() if _veiled(veil, clock_ms))
            chunks[number] = Chunk(old.labels, tuple(values), kept)


def _veiled(veil: Veil, clock_ms: int) -> bool:
    return clock_ms < veil.hold_until_ms or any(clock_ms < r.until_ms for r in veil.releases)
