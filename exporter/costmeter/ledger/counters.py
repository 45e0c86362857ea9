"""Exported counters: never down, born visibly, late amounts shown little by little.

A counter is (what its cells add up to) + opening. What must not be shown (history from
before the ledger, a reversal in a family that has no credit counter) goes into the
opening with the opposite sign, so a counter never falls by a cent.
"""

from __future__ import annotations

from sqlite3 import Connection

import msgspec

Key = tuple[str, tuple[str, ...]]

#: Releases begin on the minute and end on the quarter of an hour, so that a stream of
#: late events shares rows instead of adding one each.
_FROM_STEP_MS = 60_000
_UNTIL_STEP_MS = 900_000

_encode = msgspec.json.Encoder().encode


class _Series:
    __slots__ = ("opening", "series", "value")

    def __init__(self, series: int, value: int, opening: int) -> None:
        self.series, self.value, self.opening = series, value, opening


class Counters:
    """Used inside the write transaction only."""

    def __init__(self, connection: Connection, birth_hold_ms: int) -> None:
        self._connection = connection
        self._birth_hold_ms = birth_hold_ms
        self._deltas: dict[Key, dict[int, int]] = {}
        self._history: dict[Key, int] = {}
        self._cached: dict[Key, _Series] = {}

    def forget(self) -> None:
        """Drop everything, because the transaction was rolled back."""
        self._deltas.clear()
        self._history.clear()
        self._cached.clear()

    def reread(self) -> None:
        """Ask the table again: somebody changed counters past this class."""
        self._cached.clear()

    def add(
        self, family: str, labels: tuple[str, ...], amount: int, until_ms: int, history: bool
    ) -> None:
        """Add a signed amount; within a transaction amounts of one release are netted."""
        key = (family, labels)
        if history:
            self._history[key] = self._history.get(key, 0) + amount
            return
        by_release = self._deltas.get(key)
        if by_release is None:
            by_release = self._deltas[key] = {}
        by_release[until_ms] = by_release.get(until_ms, 0) + amount

    def flush(self, revision: int, now_ms: int) -> None:
        """Write what was added. New series are held at zero for the birth hold."""
        if len(self._cached) > 20_000:
            self._cached.clear()
        rows, releases = [], []
        for key in self._deltas.keys() | self._history.keys():
            series = self._cached.get(key) or self._find(key, revision, now_ms)
            series.opening -= self._history.get(key, 0)
            for until_ms, amount in self._deltas.get(key, {}).items():
                if amount < 0:
                    series.opening -= amount
                    continue
                series.value += amount
                if until_ms > now_ms and amount:
                    start = now_ms - now_ms % _FROM_STEP_MS
                    end = until_ms + -until_ms % _UNTIL_STEP_MS
                    releases.append((series.series, start, end, amount, revision))
            rows.append((series.value, series.opening, revision, series.series))
        self._connection.executemany(
            "UPDATE series SET value = ?, opening = ?, rev = ? WHERE series = ?", rows
        )
        self._connection.executemany(
            "INSERT INTO release VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "amount = amount + excluded.amount, rev = excluded.rev",
            releases,
        )
        self._deltas.clear()
        self._history.clear()

    def _find(self, key: Key, revision: int, now_ms: int) -> _Series:
        family, labels = key
        text = _encode(labels).decode()
        row = self._connection.execute(
            "SELECT series, value, opening FROM series WHERE family = ? AND labels = ?",
            (family, text),
        ).fetchone()
        if row is None:
            cursor = self._connection.execute(
                "INSERT INTO series (family, labels, value, opening, hold_until, rev) "
                "VALUES (?, ?, 0, 0, ?, ?)",
                (family, text, now_ms + self._birth_hold_ms, revision),
            )
            row = (cursor.lastrowid, 0, 0)
        series = self._cached[key] = _Series(*row)
        return series
