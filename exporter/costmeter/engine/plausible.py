"""Every minute: can the amounts that were booked since be right at all?

Ingest does not wait for it: only records over a few dollars are read back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from sqlite3 import Connection

from costmeter.analysis.plausibility import Implausible, check
from costmeter.clock import Clock
from costmeter.engine import anomaly_documents as stored
from costmeter.ledger import documents
from costmeter.ledger.documents import Document
from costmeter.ledger.history import amounts
from costmeter.ledger.store import Store
from costmeter.ledger.writer import Writer
from costmeter.model import MS_PER_DAY, NANO_PER_USD, TOKEN_CLASSES, Labels, Usage

JOB = "plausibility"
#: Records under this are not read back: a wrong unit price shows on some larger one.
LEAST_NANO = 5 * NANO_PER_USD
#: Of one run; the rest is looked at in the next.
_AT_ONCE = 10_000
#: A wrong price books thousands of wrong records, and a hundred say it as well.
_MOST_OF_A_RUN = 100
_PAST_DAYS = 30
_MILLION = 10**6
_STATE, _SEEN = "plausibility", "event"


class Plausibility:
    """Reads beside the writer; what is found is stored as a document."""

    def __init__(self, store: Store, writer: Writer, clock: Clock) -> None:
        self._store = store
        self._writer = writer
        self._clock = clock

    def run(self) -> str:
        """What was found, "" for nothing."""
        connection = self._store.reader()
        try:
            seen = _seen(connection)
            newest = connection.execute("SELECT coalesce(max(event), 0) FROM usage_event")
            last = int(newest.fetchone()[0])
            if seen is None:
                # What was booked before anybody looked is not asked about.
                self._keep([], last)
                return ""
            if last <= seen:
                return ""
            found: list[tuple[int, Implausible]] = []
            for event, usage, nano in _records(connection, seen):
                last = event
                judged = self._judge(connection, usage, nano)
                if judged is not None and len(found) < _MOST_OF_A_RUN:
                    found.append((event, judged))
        finally:
            connection.close()
        self._keep(found, last)
        return f"{len(found)} records with amounts that cannot be right" if found else ""

    def _judge(self, connection: Connection, usage: Usage, nano: int) -> Implausible | None:
        rate = self._writer.booking.prices.rate(
            usage.labels, usage.at_ms, usage.processing, usage.quantities
        )
        return check(usage, nano, rate, _usual(connection, usage))

    def _keep(self, found: list[tuple[int, Implausible]], last: int) -> None:
        now_ms = self._clock.now_ms()
        texts = [_document(event, one, now_ms) for event, one in found]
        self._writer.run(
            partial(_store, self._writer.booking.connection, texts, last, now_ms)
        ).result()


def _store(connection: Connection, texts: list[Document], last: int, now_ms: int) -> None:
    documents.put(connection, stored.IMPLAUSIBLE, texts)
    connection.execute(
        "INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?)", (_STATE, _SEEN, str(last), now_ms)
    )


def _seen(connection: Connection) -> int | None:
    row = connection.execute(
        "SELECT value FROM state WHERE kind = ? AND name = ?", (_STATE, _SEEN)
    ).fetchone()
    return None if row is None else int(row[0])


def _records(connection: Connection, seen: int) -> Iterator[tuple[int, Usage, int]]:
    """Records that were booked since, and cost enough to be asked about."""
    fields = ", ".join(f"d.{name}" for name in Labels._fields)
    for row in connection.execute(
        "SELECT e.event, e.nano, e.id, e.at_ms, e.feed, e.quantities, e.processing, e.resource, "
        f"{fields} FROM usage_event AS e JOIN dim AS d USING (dim) "
        "WHERE e.event > ? AND abs(e.nano) >= ? ORDER BY e.event LIMIT ?",
        (seen, LEAST_NANO, _AT_ONCE),
    ).fetchall():
        event, nano, identity, at_ms, feed, quantities, processing, resource, *labels = row
        usage = Usage(
            identity,
            at_ms,
            feed,
            Labels(*labels),
            json.loads(quantities),
            processing=processing,
            resource=resource,
        )
        yield event, usage, nano


def _usual(connection: Connection, usage: Usage) -> int | None:
    """Nano-USD of a million tokens of this model on the days before; None for too few."""
    day_ms = usage.at_ms // MS_PER_DAY * MS_PER_DAY
    span = {"since_ms": day_ms - _PAST_DAYS * MS_PER_DAY, "until_ms": day_ms}
    where = [("provider", usage.labels.provider), ("model", usage.labels.model)]
    pieces = amounts(connection, "quantities", [], **span, where=where)
    tokens = sum(pieces.get((name,), 0) for name in TOKEN_CLASSES)
    if tokens < _MILLION:
        return None
    return sum(amounts(connection, "nanos", [], **span, where=where).values()) * _MILLION // tokens


def _document(event: int, one: Implausible, now_ms: int) -> Document:
    body = {
        "event": event,
        "event_id": one.event_id,
        "at_ms": one.at_ms,
        "tenant_id": one.tenant_id,
        "provider": one.provider,
        "model": one.model,
        "limit_nano": one.limit_nano,
        "text": f"{one.why}. {one.advice}",
    }
    return Document(f"e{event}", now_ms, now_ms, json.dumps(body))
