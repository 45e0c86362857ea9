"""Sums of files, kept on disk until their days are asked for: a day at a time is in memory."""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Iterator
from decimal import Decimal

import msgspec

from costmeter.model import BillLine, Labels
from costmeter.sources.contract import SourceError
from costmeter.sources.files.reading import Sums
from costmeter.sources.files.shapes import BASES, Group
from costmeter.sources.files.values import EXACT, nano_of
from costmeter.sources.owners import line_name
from costmeter.sources.reading import plain

#: More lines than this in a day are no bill that somebody reads by day.
_MOST_LINES = 100_000
_SCHEMA = """
CREATE TABLE part (
    file INTEGER NOT NULL, day INTEGER NOT NULL, line TEXT NOT NULL, currency TEXT NOT NULL,
    charge TEXT NOT NULL, labels TEXT NOT NULL,
    effective TEXT, billed TEXT, list TEXT, contracted TEXT
);
CREATE INDEX part_by_day ON part (day);
CREATE INDEX part_by_file ON part (file);
"""


class Heap:
    """A database without a name, which the system removes with the process."""

    def __init__(self) -> None:
        # One thread after the other uses it: a source is asked by one at a time.
        self._connection = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        # A source has no end of its own: it goes when nobody needs it any more.
        weakref.finalize(self, self._connection.close)
        self._connection.execute("PRAGMA cache_size = -4096")
        self._connection.execute("PRAGMA journal_mode = OFF")
        self._connection.executescript(_SCHEMA)

    def add(self, file: int, sums: Sums) -> None:
        self._connection.execute("BEGIN")
        self._connection.executemany(
            "INSERT INTO part VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    file, day, _line(group), group.currency, group.charge,
                    msgspec.json.encode(group.labels).decode(),
                    *(None if value is None else str(value) for value in amounts),
                )
                for (day, group), amounts in sums.items()
            ),
        )  # fmt: skip
        self._connection.execute("COMMIT")

    def days(self, file: int) -> set[int]:
        rows = self._connection.execute("SELECT DISTINCT day FROM part WHERE file = ?", (file,))
        return {day for (day,) in rows}

    def drop(self, file: int) -> None:
        self._connection.execute("DELETE FROM part WHERE file = ?", (file,))

    def lines(self, day: int, maturity: str) -> tuple[BillLine, ...]:
        """A day's lines of all files, on every basis that they speak of."""
        found: dict[tuple[str, str, str], list[Decimal | None]] = {}
        labels: dict[tuple[str, str, str], str] = {}
        rows = self._connection.execute(
            "SELECT line, currency, charge, labels, effective, billed, list, contracted "
            "FROM part WHERE day = ?",
            (day,),
        )
        for line, currency, charge, said, *amounts in rows:
            key = (line, currency, charge)
            sums = found.setdefault(key, [None] * len(BASES))
            labels[key] = said
            for at, value in enumerate(amounts):
                if value is not None:
                    before = sums[at]
                    more = Decimal(value)
                    sums[at] = more if before is None else EXACT.add(before, more)
            if len(found) > _MOST_LINES:
                raise SourceError(
                    "too_large", f"more than {_MOST_LINES} lines in a day; name fewer tags"
                )
        return tuple(
            made
            for key, sums in found.items()
            for made in _made(day, key, Labels(*msgspec.json.decode(labels[key])), sums, maturity)
        )


def _line(group: Group) -> str:
    name = line_name(group.charge, *group.labels)
    # A line has one currency: another one is another line.
    return name if group.currency == "USD" else f"{name} | {group.currency}"


def _made(
    day: int,
    key: tuple[str, str, str],
    labels: Labels,
    sums: list[Decimal | None],
    maturity: str,
) -> Iterator[BillLine]:
    # Most free lines are noise; those that a meter may speak of say that it was free.
    if not any(sums) and labels.category not in ("llm_api", "gpu_compute"):
        return
    line, currency, charge = key
    for basis, money in zip(BASES, sums, strict=True):
        if money is None:
            continue
        yield BillLine(
            scope="",
            day=day,
            line=line,
            revision=0,
            amount=plain(money),
            currency=currency,
            usd_nano=nano_of(money) if currency == "USD" else None,
            labels=labels,
            maturity=maturity,
            basis=basis,
            fx_day=day,
            charge=charge,
        )
