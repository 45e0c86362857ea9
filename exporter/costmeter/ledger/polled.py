"""What a polled source reported, compared with what it reported before.

A provider restates its figures, and the journal is never edited. So the ledger remembers
each bucket's group as it was booked: what has grown since is booked as one more piece of
usage, what has shrunk is taken from its pieces by corrections, and a line of a bill gets a
higher revision. All of it and the source's state are one transaction: whatever crashes
before its commit never happened, and reading the same again changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import msgspec

from costmeter.ledger.booking import Booking
from costmeter.ledger.polled_usage import Counted, UsageStream, entry_name
from costmeter.model import MS_PER_DAY, BillLine, Labels, Usage

#: How long buckets are remembered after the watermark has passed them.
_REMEMBERED_MS = 60 * MS_PER_DAY
_PUT = "INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?)"
_SOURCE = "source"
_encode = msgspec.json.Encoder(order="sorted").encode


class Bills(Protocol):
    """Takes lines of bills, within the writer's transaction."""

    def take(
        self,
        lines: Sequence[BillLine],
        watermark_ms: int | None,
        *,
        source: str,
        since_ms: int | None,
    ) -> int:
        """`since_ms` is when the source was set up. Raises ValueError for a line that cannot
        be kept."""
        ...


class Progress(NamedTuple):
    """What is known of a source. Instants are in ms; None means never.

    `watermark_ms` is up to when everything was delivered, `newest_ms` the start of the
    newest bucket with data, `spent` what its calls cost: (UTC day, calls, nano-USD).
    `forecast` is the provider's own: (until when in ms, pairs of a bound and nano-USD).
    `kept` is the source's own text, for its next poll.
    """

    watermark_ms: int | None = None
    first_ms: int = 0
    newest_ms: int | None = None
    success_ms: int | None = None
    spent: tuple[int, int, int] = (0, 0, 0)
    generation: int = 0
    forecast: tuple[int, tuple[tuple[str, int], ...]] | None = None
    kept: str = ""


class Delivery(NamedTuple):
    """All that one stream of a source reports within [since, until)."""

    stream: str
    since_ms: int
    until_ms: int
    usages: Sequence[Usage]
    lines: Sequence[BillLine]


class Polled:
    """Used inside the write transaction only."""

    def __init__(self, booking: Booking, bills: Bills) -> None:
        self._booking = booking
        self._connection = booking.connection
        self._bills = bills

    def begin(self, source: str) -> Progress:
        """Begin a poll; every other poll of this source that is under way ends."""
        known = self.progress(source)
        begun = known._replace(
            generation=known.generation + 1, first_ms=known.first_ms or self._booking.now_ms
        )
        self._keep(source, begun)
        return begun

    def progress(self, source: str) -> Progress:
        row = self._connection.execute(
            "SELECT value FROM state WHERE kind = ? AND name = ?", (_SOURCE, source)
        ).fetchone()
        return Progress() if row is None else Progress(**msgspec.json.decode(row[0]))

    def billed_until_ms(self, source: str) -> int | None:
        """The end of the newest day that a bill of the source speaks of; None without any."""
        row = self._connection.execute(
            "SELECT max(day) FROM bill WHERE source = ?", (source,)
        ).fetchone()
        return None if row[0] is None else (int(row[0]) + 1) * MS_PER_DAY

    def note_spent(self, source: str, spent: tuple[int, int, int]) -> None:
        """Keep what a poll cost that failed."""
        self._keep(source, self.progress(source)._replace(spent=spent))

    def take(
        self, source: str, begun: Progress, delivery: Delivery, now: Progress
    ) -> Counted | None:
        """Book what a delivery changes, and how far the source is by then.

        `begun` is what `begin` said. None when another poll of the source began since:
        then nothing of this one is taken any more.
        """
        if self.progress(source).generation != begun.generation:
            return None
        stream = UsageStream(
            self._booking,
            self,
            source,
            delivery.stream,
            generation=begun.generation,
            first_ms=begun.first_ms,
        )
        usage = stream.book(delivery.usages, delivery.since_ms, delivery.until_ms)
        lines = self._take_lines(source, begun, delivery)
        self._keep(source, now._replace(generation=begun.generation))
        if now.watermark_ms is not None and now.watermark_ms != begun.watermark_ms:
            self._forget_before(source, now.watermark_ms - _REMEMBERED_MS)
        return Counted(*(one + other for one, other in zip(usage, lines, strict=True)))

    def _take_lines(self, source: str, begun: Progress, delivery: Delivery) -> Counted:
        kind = f"billed:{source}:{delivery.stream}"
        known = self.known(kind, delivery.since_ms, delivery.until_ms)
        changed: list[BillLine] = []
        new = same = restated = gone = 0
        maturity = {line.day: line.maturity for line in delivery.lines}
        for line in delivery.lines:
            name = entry_name(line.day * MS_PER_DAY, f"{line.basis} {line.line}")
            said = _line_said(line)
            before = known.pop(name, None)
            if before == said:
                same += 1
                continue
            new, restated = (new + 1, restated) if before is None else (new, restated + 1)
            changed.append(replace(line, revision=begun.generation))
            self.remember(kind, name, said, line.day * MS_PER_DAY)
        for name, said in known.items():
            line = _gone(said, maturity, begun.generation)
            if _line_said(line) == said:
                continue  # it was gone before
            gone += 1
            changed.append(line)
            self.remember(kind, name, _line_said(line), line.day * MS_PER_DAY)
        if changed:
            delivered_ms = self._delivered_ms(source, begun)
            self._bills.take(changed, delivered_ms, source=source, since_ms=begun.first_ms)
        return Counted(new, same, restated, gone)

    def _delivered_ms(self, source: str, begun: Progress) -> int | None:
        """Up to when the source's bills were there before this poll; None before the first.

        A provider that answers without figures has delivered nothing by that: what is late
        by a week then enters the counters over two, and not within hours.
        """
        until_ms = self.billed_until_ms(source) or begun.first_ms
        if begun.watermark_ms is None or until_ms is None:
            return begun.watermark_ms
        return min(begun.watermark_ms, until_ms)

    def known(self, kind: str, since_ms: int, until_ms: int) -> dict[str, Any]:
        """What was taken of a stream within a stretch of time, by name."""
        rows = self._connection.execute(
            "SELECT name, value FROM state WHERE kind = ? AND name >= ? AND name < ?",
            (kind, entry_name(since_ms, ""), entry_name(until_ms, "")),
        )
        return {name: msgspec.json.decode(value) for name, value in rows}

    def remember(self, kind: str, name: str, value: Any, at_ms: int) -> None:
        self._connection.execute(_PUT, (kind, name, _encode(value).decode(), at_ms))

    def _keep(self, source: str, progress: Progress) -> None:
        value = _encode(progress._asdict()).decode()
        at_ms = progress.success_ms or 0
        self._connection.execute(_PUT, (_SOURCE, source, value, at_ms))

    def _forget_before(self, source: str, before_ms: int) -> None:
        for kind in ("polled", "billed"):
            # ';' follows ':', and no name of a source holds either.
            self._connection.execute(
                "DELETE FROM state WHERE kind >= ? AND kind < ? AND at_ms < ?",
                (f"{kind}:{source}:", f"{kind}:{source};", before_ms),
            )


def _line_said(line: BillLine) -> list[Any]:
    return [
        line.day, line.line, line.amount, line.currency, line.usd_nano, line.maturity,
        line.basis, line.fx_rate, line.fx_day, line.charge, list(line.labels),
    ]  # fmt: skip


def _gone(said: Sequence[Any], maturity: Mapping[int, str], generation: int) -> BillLine:
    """A line that is no longer there charges nothing."""
    day, name, _, currency, nano, was, basis, fx_rate, fx_day, charge, labels = said
    return BillLine(
        scope="",
        day=day,
        line=name,
        revision=generation,
        amount="0",
        currency=currency,
        usd_nano=None if nano is None else 0,
        labels=Labels(*labels),
        maturity=maturity.get(day, was),
        basis=basis,
        fx_rate=fx_rate,
        fx_day=fx_day,
        charge=charge,
    )
